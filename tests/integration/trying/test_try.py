"""`heliotrope try` where it ends before anything is trained: with a report, or an error, that says what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.unit.cli.trying.histories import list_rows, list_unlike, write_rows
from tests.unit.trainer.tiny_model import save_tiny_model

LIKED, OTHER = "okay", "many other words were said here"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "history.jsonl", list_unlike(LIKED, OTHER))


@pytest.fixture
def invoke(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))

    def run(file: Path, *options: str, of: str = "") -> Any:
        arguments = ["try", str(file), "--model", of or str(model), "--output", str(tmp_path / "try"), "--json"]
        return CliRunner().invoke(app, [*arguments, "--budget", "1h", *options])

    return run


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        ([{"prompt": "Where?", "answer": "Here."}], "feedback"),
        (list_rows(2), "at least 20 pairs"),
    ],
    ids=["no feedback", "two rows"],
)
def test_a_file_with_too_little_in_it_has_a_report_that_says_what_is_needed(
    invoke: Callable[..., Any], tmp_path: Path, rows: list[dict[str, str]], missing: str
) -> None:
    source = "pairs" if "chosen" in rows[0] else "csv"
    result = invoke(write_rows(tmp_path / "few.jsonl", rows), "--source", source)
    assert result.exit_code == 3, result.stderr
    said = json.loads(result.stdout)
    assert said["verdict"] == "cannot_say"
    assert missing in " ".join(said["missing"])
    assert missing in Path(said["report"]).read_text(encoding="utf-8")


def test_a_model_behind_an_address_is_told_what_the_data_is_worth(invoke: Callable[..., Any], history: Path) -> None:
    result = invoke(history, of="http://127.0.0.1:1/v1#gpt")
    assert result.exit_code == 3, result.stderr
    said = json.loads(result.stdout)
    assert said["verdict"] == "cannot_say"
    assert said["pairs"] > 40
    assert "--student" in said["missing"][0]


def test_another_folder_s_content_is_never_removed(invoke: Callable[..., Any], history: Path, tmp_path: Path) -> None:
    (tmp_path / "try").mkdir()
    (tmp_path / "try" / "mine.txt").write_text("mine")
    result = invoke(history)
    assert result.exit_code == 1
    assert "--output" in result.stderr
    assert (tmp_path / "try" / "mine.txt").read_text() == "mine"
