"""A file of another tool, or with nothing in it, is said to be one, and the command fails."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.exchange.commands import Job, run_dry
from cli.exchange.events import Import
from cli.exchange.found import Options
from cli.exchange.recognising import recognise
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.reports import describe
from cli.main import app
from tests.unit.exchange.reading_files import FIXTURES
from tests.unit.exchange.test_sources import FIXTURE_COUNTS, options_for

SAME_SHAPE = {"huggingface": {"pairs"}, "pairs": {"huggingface", "csv"}, "csv": {"pairs", "huggingface"}}
"""Sources that share plain shapes: what one reads, the other does too."""
EXPECTED = {
    "langsmith.jsonl": "langfuse",
    "langfuse.json": "openai",
    "open-webui.json": "langsmith",
    "phoenix.jsonl": "litellm",
    "label-studio.json": "phoenix",
    "openai-chatgpt.json": "sharegpt",
    "huggingface-ultrafeedback.json": "langsmith",
}
"""A fixture, and the source that it is taken for."""


def dry(source: str, *files: Path) -> dict[str, Any]:
    about = Import("odd", source, datetime(2000, 1, 1, tzinfo=UTC))
    return run_dry(Job(IMPORTERS[source], files, about, Options()))


@pytest.mark.parametrize("source, name", [(source, name) for source, name, *_ in FIXTURE_COUNTS])
def test_a_fixture_is_recognised_as_its_own_tools(source: str, name: str):
    found = recognise(FIXTURES / name, options_for(name))
    if any(feedback or answers for other, one, answers, feedback, _ in FIXTURE_COUNTS if one == name):
        assert found in {source, *SAME_SHAPE.get(source, ())}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_wrong_tools_file_is_said_to_be_it(name: str):
    [strange] = dry(EXPECTED[name], FIXTURES / name)["strange_files"]
    assert (strange["file"], strange["nothing_taken"]) == (name, True)
    assert strange["looks_like"] == name.split(".")[0].removesuffix("-chatgpt").removesuffix("-ultrafeedback")


def test_of_several_files_the_strange_one_is_named():
    report = dry("langfuse", FIXTURES / "langfuse.json", FIXTURES / "openai.jsonl")
    assert [one["file"] for one in report["strange_files"]] == ["openai.jsonl"]
    said = next(describe(report))
    assert (
        said == "Nothing of openai.jsonl can be read as langfuse; it looks like openai: say `heliotrope import openai`."
    )


def test_files_in_which_much_is_refused_are_no_strange_ones(tmp_path: Path):
    traces = [{"id": str(number), "input": "a", "output": None if number else "b"} for number in range(9)]
    (tmp_path / "a.json").write_text(json.dumps(traces))
    assert dry("langfuse", tmp_path / "a.json")["strange_files"] == []
    score = {"id": "s", "traceId": "t", "name": "faithful", "value": 1, "source": "EVAL"}
    (tmp_path / "b.json").write_text(json.dumps([score]))
    assert dry("langfuse", tmp_path / "b.json")["strange_files"] == []


@pytest.mark.parametrize("content, said", [("", "holds no records"), ("[]", "holds no records")])
def test_an_empty_file_fails_the_command(content: str, said: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(content)
    done = CliRunner().invoke(app, ["import", "pairs", str(tmp_path / "a.json"), "--dry-run"])
    assert done.exit_code == 1
    assert said in done.output


def test_the_wrong_tools_file_fails_the_command_and_the_right_one_does_not():
    run = CliRunner().invoke
    wrong = run(app, ["import", "open-webui", str(FIXTURES / "langsmith.jsonl"), "--dry-run"])
    assert (wrong.exit_code, "it looks like langsmith" in wrong.output) == (1, True)
    unknown = run(app, ["import", "open-webui", str(FIXTURES / "csv.csv"), "--dry-run", "--json"])
    assert (unknown.exit_code, json.loads(unknown.stdout)["strange_files"][0]["looks_like"]) == (1, None)
    assert run(app, ["import", "langsmith", str(FIXTURES / "langsmith.jsonl"), "--dry-run"]).exit_code == 0
