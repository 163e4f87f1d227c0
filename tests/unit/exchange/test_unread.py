"""Whatever an export holds that looks like feedback is taken, or named: never passed over in silence."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cli.exchange.files.reading import RecordFile
from cli.exchange.found import Refused
from cli.exchange.ports import name_read
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.tally import MOST_FIELDS, OTHERS, Tally, name_type
from cli.exchange.unread import find_unread
from cli.exchange.walking import Place, read_record
from tests.unit.exchange.reading_files import FIXTURES, read_files, read_fixture
from tests.unit.exchange.test_sources import FIXTURE_COUNTS, options_for

PLANTED: dict[str, dict[str, Any]] = {
    "thumbs_up": {"thumbs_up": 7},
    "profile.satisfaction": {"profile": {"satisfaction": "low"}},
    "more[].liked": {"more": [{"liked": True}, {"liked": False}]},
    "Helpful?": {"Helpful?": "no"},
    "metadata.userRating": {"metadata": '{"userRating": 2}'},
}
UI_TABLE = """id,timestamp,name,userId,input,output,latency,totalCost,tags,user-feedback,tone,verdict,empty
t1,2026-02-01T08:00:00Z,shop,ines,Is it red?,It is.,1.2,0.003,[],0.5,,"[""good""]",
t2,2026-02-01T08:01:00Z,shop,ines,Is it big?,It is.,1.1,0.002,"[""a""]",1,4,bad,
"""


def read_planted(source: str, name: str, planted: dict[str, Any]) -> Tally:
    """The first record of a fixture of which something is taken, with something planted in it."""
    tally, options = Tally(), options_for(name)
    for record in RecordFile(FIXTURES / name, IMPORTERS[source].wrappers):
        if not isinstance(record, Refused) and read_record(IMPORTERS[source], record, options, Tally(), Place(0, 1)):
            found = read_record(IMPORTERS[source], {**record, **planted}, options, tally, Place(0, 1))
            assert found
            tally.count(found, "here")
            return tally
    raise AssertionError(name)


@pytest.mark.parametrize("path", PLANTED)
@pytest.mark.parametrize("source", IMPORTERS)
def test_what_looks_like_feedback_and_is_not_read_is_named_by_its_field_whatever_the_source(source: str, path: str):
    name = next(name for other, name, *_ in FIXTURE_COUNTS if other == source)
    tally = read_planted(source, name, PLANTED[path])
    named = {field for counted in tally.fields.values() for field in counted}
    assert path in named or path.partition(".")[0] in named


def test_a_score_in_a_column_of_langfuses_ui_is_named_whether_number_word_or_list(tmp_path: Path):
    (tmp_path / "ui.csv").write_text(UI_TABLE)
    found, tally = read_files("langfuse", [tmp_path / "ui.csv"])
    assert (len(found.answers), found.feedback) == (2, [])
    assert tally.fields["no_score_source"] == {"user-feedback": 2, "verdict": 2, "tone": 1}
    assert "not_read" not in tally.refused


def test_a_langsmith_run_tells_that_its_feedback_is_elsewhere():
    run = {"id": "r", "inputs": {"question": "a"}, "outputs": {"answer": "b"}, "feedback_stats": {"thumb": {"n": 3}}}
    tally = Tally()
    read_record(IMPORTERS["langsmith"], run, options_for(""), tally, Place(0, 1))
    assert tally.fields["not_read"] == {"feedback_stats": 1}


def test_what_a_model_said_to_a_user_or_was_told_is_not_searched_for_feedback():
    record = {"input": {"rating": 5}, "output": [{"like": 1}], "rating_id": "x", "comments": [], "likes": None}
    assert list(find_unread(record, name_read())) == []
    asked = {"messages": [{"content": "a", "thumb": "up"}]}
    assert [one.field for one in find_unread(asked, name_read())] == ["messages[].thumb"]


def test_names_beyond_fifty_of_a_reason_are_counted_together():
    tally = Tally()
    for number in range(MOST_FIELDS + 10):
        tally.count_refused(Refused("not_read", "", f"field {number}"), "here")
    counted = tally.as_dict()["refused"]["not_read"]["fields"]
    assert (len(counted), counted[OTHERS], Counter(counted).total()) == (MOST_FIELDS + 1, 10, MOST_FIELDS + 10)


def test_label_studio_names_predictions_and_labels_on_words():
    _, tally = read_fixture("label-studio", "label-studio-dialogues.json")
    assert tally.fields["machine_score"] == {"predictions": 1}
    assert tally.fields["unknown_value"] == {"tone": 1}
    assert tally.fields["not_read"] == {"data.rating": 1, "annotations[].reviews": 1}


@pytest.mark.parametrize("label, said", [(1, "up"), ("False", "down"), (0.0, "down")])
def test_a_training_label_is_read_however_it_is_written(label: Any, said: str, tmp_path: Path):
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "label": label}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    [one] = read_files("sharegpt", [tmp_path / "a.json"])[0].feedback
    assert one.says.value == said  # type: ignore[union-attr]


def test_a_training_label_that_is_none_is_named(tmp_path: Path):
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    (tmp_path / "a.json").write_text(json.dumps([{"conversations": turns, "kto_tag": "so"}]))
    found, tally = read_files("sharegpt", [tmp_path / "a.json"])
    assert (len(found.answers), dict(tally.fields["unknown_value"])) == (1, {"kto_tag": 1})


def test_a_tag_picked_beside_words_in_chatgpt_is_named():
    rated = {"id": "m", "rating": "thumbs_down", "content": {"text": "Too long.", "tags": ["Not helpful", "unsafe"]}}
    found = IMPORTERS["openai"].read(rated, options_for(""))
    assert [name_type(one.says) for one in found.feedback] == ["thumb", "comment", "complaint"]
    assert [(one.field, one.detail) for one in found.refused] == [
        ("tags", "picked beside words of the user's own: Not helpful")
    ]
