"""The command without any server: what it says when there is nothing to talk to."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.status import describe_loop


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("HELIOTROPE_DATABASE_URL", raising=False)
    monkeypatch.delenv("HELIOTROPE_PORT_BASE", raising=False)
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_status_of_a_stack_that_never_ran_says_how_to_start_it(invoke):
    result = invoke("status")
    assert result.exit_code == 1
    assert "does not run" in result.stdout
    assert "heliotrope up" in result.stdout


def test_status_as_json_says_the_same(invoke):
    result = invoke("status", "--json")
    assert '"running": false' in result.stdout


def test_down_of_a_stack_that_never_ran_is_no_error(invoke):
    assert invoke("down").exit_code == 0


def test_keys_without_a_database_ask_which_one(invoke):
    result = invoke("keys", "list")
    assert result.exit_code == 1
    assert "HELIOTROPE_DATABASE_URL" in result.stderr


def test_a_wrong_port_base_is_named(invoke, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", "http")
    result = invoke("up")
    assert result.exit_code == 1
    assert "HELIOTROPE_PORT_BASE must be a number" in result.stderr


def test_the_loop_is_told_stage_by_stage():
    progress = {"step": 12, "steps": 40, "notes": ["adjust at step 9: KL 0.5 nats is above 0.3"]}
    lines = describe_loop(
        {
            "paused": False,
            "routing": {"champion": {"version": "1"}},
            "interactions": 412,
            "feedback": {"attached": 390, "parked": 2},
            "pairs": {"train": 80, "gate": 9},
            "labels": 31,
            "request": {"state": "open", "outcome": None, "reasons": [{"summary": "89 pairs since the last training"}]},
            "run": {"state": "running", "progress": progress, "reason": None},
            "evaluation": None,
            "rollout": None,
        }
    )
    assert lines == [
        "champion: version 1",
        "gathered: 412 interactions, feedback attached 390, parked 2, pairs gate 9, train 80, 31 labels",
        "retraining: open, because 89 pairs since the last training",
        "training run: running step 12, steps 40",
        "  adjust at step 9: KL 0.5 nats is above 0.3",
    ]
