"""Preference data from files becomes two answers and a choice, the same ones each time."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from cli.imports import derive_events, read_rows
from local.errors import StackFailed
from services.curator.pairs.domain.pairing import derive_group
from services.curator.pairs.domain.rules import Answer
from shared.conversation import calculate_prompt_hash
from shared.events import Choice, InteractionRecorded
from shared.ids import calculate_user_hash

YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
ROW = {"prompt": "Where is my lamp?", "chosen": "It is on its way to you.", "rejected": "No idea at all, sorry."}


SECRET = "a secret of sixteen"


def derive(row: dict[str, Any], source: str = "team", secret: str = SECRET) -> Any:
    return derive_events(row, 1, source=source, at=YEAR_2000, secret=secret)


def test_a_row_becomes_a_pair_with_its_provenance():
    chosen, rejected, said = derive(ROW)
    assert isinstance(said.feedback, Choice)
    assert (chosen.model_version, said.metadata["imported"]["source"]) == ("imported:team", "team")
    answers = {event.interaction_id: as_answer(event) for event in (chosen, rejected)}
    [pair] = derive_group(answers, [said]).pairs
    assert (pair.draft.chosen.text, pair.draft.rejected.text, pair.state) == (ROW["chosen"], ROW["rejected"], "active")


def test_a_rows_user_is_the_user_that_front_ends_name_so():
    ines, tomas = derive(ROW | {"user_id": "ines@shop"}), derive(ROW | {"user": "tomas@shop"})
    assert {event.user for event in ines} == {calculate_user_hash("ines@shop", None, SECRET)}
    assert {event.user for event in tomas} == {calculate_user_hash("tomas@shop", None, SECRET)}
    assert ines[2].event_id != tomas[2].event_id != derive(ROW)[2].event_id
    assert {event.user for event in derive(ROW | {"user_id": None})} == {None}
    assert derive(ROW | {"user_id": 7})[2].user == calculate_user_hash("7", None, SECRET)


def test_a_user_of_another_shape_or_without_a_secret_is_refused_by_name():
    for value in (["ines"], "", 1.5, True):
        with pytest.raises(StackFailed, match="row 1: user must be"):
            derive(ROW | {"user": value})
    with pytest.raises(StackFailed, match="HELIOTROPE_USER_HASH_SECRET") as refused:
        derive(ROW | {"user_id": "ines@shop"}, secret="")
    assert "ines" not in str(refused.value)


def as_answer(event: InteractionRecorded) -> Answer:
    prompt_hash = calculate_prompt_hash(event.messages)
    return Answer(event.interaction_id, prompt_hash, event.answer, event.model_version)


def test_the_same_row_gives_the_same_events_and_another_source_others():
    assert derive(ROW) == derive(dict(ROW))
    assert derive(ROW)[2].event_id != derive(ROW, "others")[2].event_id


def test_conversations_are_read_as_texts_are():
    row = {
        "prompt": [{"role": "user", "content": ROW["prompt"]}],
        "chosen": [{"role": "assistant", "content": ROW["chosen"]}],
        "rejected": [{"role": "assistant", "content": ROW["rejected"]}],
    }
    assert derive(row) == derive(ROW)


@pytest.mark.parametrize("field", ["prompt", "chosen", "rejected"])
def test_what_is_missing_is_named(field: str):
    with pytest.raises(StackFailed, match=f"row 1: {field}"):
        derive({name: value for name, value in ROW.items() if name != field})


def test_jsonl_and_parquet_hold_the_same_rows(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + "\n\n" + json.dumps(ROW) + "\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW, ROW]), tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.jsonl")) == list(read_rows(tmp_path / "a.parquet")) == [ROW, ROW]


def test_a_line_that_is_no_object_is_named(tmp_path: Path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(ROW) + "\nnot json\n")
    with pytest.raises(StackFailed, match="line 2"):
        list(read_rows(file))
    (tmp_path / "a.csv").write_text("prompt")
    with pytest.raises(StackFailed, match="neither"):
        list(read_rows(tmp_path / "a.csv"))
