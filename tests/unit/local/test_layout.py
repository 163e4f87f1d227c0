"""Where a stack keeps things, from the environment."""

import json
from pathlib import Path

import pytest

from local.layout import DEFAULT_PORT_BASE, OFFSETS, Layout, find_checkout, find_home, find_port_base


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HELIOTROPE_HOME", raising=False)
    monkeypatch.delenv("HELIOTROPE_PORT_BASE", raising=False)


def test_home_is_a_hidden_folder_of_the_checkout():
    assert find_home() == find_checkout() / ".heliotrope"


def test_home_can_be_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path))
    assert find_home() == tmp_path


def test_ports_start_at_8000_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert find_port_base(tmp_path) == DEFAULT_PORT_BASE == 8000
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", "9100")
    assert find_port_base(tmp_path) == 9100


def test_later_commands_find_the_ports_that_a_home_was_started_with(tmp_path: Path):
    (tmp_path / "stack.json").write_text(json.dumps({"port_base": 9300}))
    assert find_port_base(tmp_path) == 9300


@pytest.mark.parametrize("value", ["eighty", "80", "70000", "-1"])
def test_a_port_base_that_cannot_be_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str):
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", value)
    with pytest.raises(ValueError, match="HELIOTROPE_PORT_BASE"):
        find_port_base(tmp_path)


def test_no_two_processes_share_a_port(tmp_path: Path):
    assert len(set(OFFSETS.values())) == len(OFFSETS)
    assert Layout(tmp_path, 8000).url("gateway") == "http://127.0.0.1:8002"
