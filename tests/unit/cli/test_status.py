"""What `heliotrope status` shows of a status that was read."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.status import read_status, render_status, watch_status
from local.connections import choose_connections
from local.credentials import Secrets
from local.layout import Layout
from local.supervision.health import Health


def describe(*, ready: bool, interactions: int = 3) -> dict[str, Any]:
    process = {"name": "gateway", "state": "RUNNING", "ready": ready, "port": 8002, "seconds": 75, "memory_mb": 90}
    loop = {
        "routing": {"champion": {"version": "4"}},
        "paused": False,
        "interactions": interactions,
        "feedback": {"attached": 2},
        "pairs": {"train": 1},
        "labels": 0,
        "request": None,
        "run": None,
        "evaluation": None,
        "rollout": None,
    }
    return {
        "home": "/srv/[heliotrope]",
        "running": True,
        "ready": ready,
        "processes": [process],
        "problems": [] if ready else ["gateway: ConnectionError"],
        "consumer_lag": {"heliotrope-curator": 7, "heliotrope-trainer": None},
        "records_lost": {"curator": 300},
        "loop": loop,
    }


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160, highlight=False)


def read_text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_not_ready_is_named_with_its_problem(console: Console):
    console.print(render_status(describe(ready=False)))
    text = read_text(console)
    assert "problem: gateway: ConnectionError" in text
    assert "1m15s" in text
    assert "behind: heliotrope-curator 7, heliotrope-trainer unknown" in text
    assert "lost to retention, unread: curator 300" in text
    assert "champion: version 4" in text


def test_the_progress_of_a_run_is_rounded_and_leaves_out_what_its_method_does_not_measure(console: Console):
    status = describe(ready=True)
    status["loop"]["run"] = {
        "state": "running",
        "progress": {"kl": None, "loss": 0.8906868, "step": 12},
        "reason": None,
    }
    console.print(render_status(status))
    assert "training run: running loss 0.891, step 12" in read_text(console)


def test_of_several_recipes_each_is_named_with_how_it_fares(console: Console):
    status = describe(ready=True)
    run: dict[str, Any] = {"state": "running", "progress": {"step": 3}, "reason": None, "recipe": "prefer"}
    status["loop"]["run"] = run | {"others": {"imitate": "failed", "climb": "queued"}}
    console.print(render_status(status))
    assert "  by prefer; by imitate: failed, by climb: queued" in read_text(console)


def test_a_stack_that_does_not_run_is_said_with_the_command_that_starts_it(console: Console):
    console.print(render_status({"running": False, "home": "/srv/[heliotrope]"}))
    assert "/srv/[heliotrope] does not run. Start it with: heliotrope up" in read_text(console)


def test_watching_shows_each_look_anew():
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    looks: Iterator[dict[str, Any]] = iter([describe(ready=True, interactions=3), describe(ready=True, interactions=9)])
    watch_status(lambda: next(looks), console, looks=2, pause_seconds=0)
    text = read_text(console)
    assert text.index("gathered: 3 interactions") < text.index("gathered: 9 interactions")


def test_json_and_watch_exclude_each_other():
    result = CliRunner().invoke(app, ["status", "--json", "--watch"])
    assert result.exit_code == 2
    assert "not both" in result.stderr


class StackOfStrangers:
    """One process runs, and no server answers."""

    def __init__(self, home: Path) -> None:
        self.layout = Layout(home)
        given = {"HELIOTROPE_DATABASE_URL": "postgresql+psycopg://a@127.0.0.1:1/a"}
        self.connections = choose_connections(self.layout, Secrets("", "", "", "", "", "", ""), given)

    def list_health(self) -> list[Health]:
        return [Health("gateway", "RUNNING", ready=True, problem=None, pid=1, port=8002, seconds=75, memory_mb=90)]


def test_a_setting_that_is_wrong_is_a_problem_and_nobody_is_asked_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HELIOTROPE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    status = read_status(StackOfStrangers(tmp_path))  # type: ignore[arg-type]
    assert any("set HELIOTROPE_KAFKA_SASL_USERNAME" in problem for problem in status["problems"])
    assert status["consumer_lag"] is None
