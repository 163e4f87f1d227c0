"""`heliotrope try` where it ends before anything is trained: with a report, or an error, that says what to do."""

import json
import shutil
import stat
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from local.simulation.judge import serve
from tests.unit.cli.trying.histories import THINGS, list_rows, list_unlike, write_rows
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
        ([{"prompt": f"{thing}?", "answer": LIKED, "thumb": "up"} for thing in THINGS], "0 disliked answers"),
    ],
    ids=["no feedback", "two rows", "thumbs up only"],
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


def test_a_try_deletes_neither_its_model_nor_an_earlier_try(
    invoke: Callable[..., Any], history: Path, tmp_path: Path, model: Path
) -> None:
    """What `heliotrope up --model try/policy/candidate` serves stays, whatever is tried next."""
    champion = tmp_path / "try" / "policy" / "candidate"
    shutil.copytree(model, champion)
    for tried in (str(champion), str(model)):
        result = invoke(history, of=tried)
        assert result.exit_code == 1
        said = json.loads(result.stdout)
        assert said["verdict"] is None
        assert "--output" in said["error"]
        assert said["error"] in result.stderr
    assert sorted(path.name for path in champion.iterdir()) == sorted(path.name for path in model.iterdir())


def test_what_is_written_is_for_its_owner_alone(invoke: Callable[..., Any], tmp_path: Path) -> None:
    assert invoke(write_rows(tmp_path / "few.jsonl", list_rows(2)), "--source", "pairs").exit_code == 3
    folder = tmp_path / "try"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_judge_that_is_down_or_names_no_winner_is_an_error_at_once(
    invoke: Callable[..., Any], history: Path, tmp_path: Path
) -> None:
    with serve(lambda _: "I like both of them.") as unreadable:
        result = invoke(history, "--judge", unreadable)
    assert result.exit_code == 1
    assert "no winner that can be read" in json.loads(result.stdout)["error"]
    result = invoke(history, "--judge", unreadable)  # nobody listens there any more
    assert result.exit_code == 1
    assert "start it" in json.loads(result.stdout)["error"]
    assert not (tmp_path / "try").exists()


def test_nothing_is_trained_for_a_judge_who_prefers_a_seat(invoke: Callable[..., Any], history: Path) -> None:
    with serve(lambda _: '{"winner": "first"}') as judge:
        result = invoke(history, "--judge", judge)
    assert result.exit_code == 3, result.stderr
    said = json.loads(result.stdout)
    assert (said["verdict"], said["training"], said["effect"]) == ("no_evidence", None, None)
    assert said["measure"]["seat_bias"] == 0.5
    assert "whichever answer stands first" in said["because"]


def test_nothing_is_trained_where_nobody_could_tell(invoke: Callable[..., Any], tmp_path: Path) -> None:
    told = ((LIKED, "up"), (OTHER, "down"))
    rows = [
        {"prompt": f"{thing}?", "answer": said, "thumb": thumb} for thing, (said, thumb) in zip(THINGS, cycle(told))
    ]
    result = invoke(write_rows(tmp_path / "thumbs.jsonl", rows), "--source", "csv")
    assert result.exit_code == 3, result.stderr
    said = json.loads(result.stdout)
    assert (said["verdict"], said["training"]) == ("cannot_say", None)
    assert "--judge" in " ".join(said["missing"])
