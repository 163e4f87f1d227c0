"""Each source's fixtures, made by hand: every type of feedback that it has, a broken row, another version."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cli.exchange.found import ImportedFeedback, Options, Preferred, Replaced, Scale
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.tally import name_type
from shared.events import Complaint, Edit, Rating, Thumb
from tests.unit.exchange.reading_files import FIXTURES, read_files, read_fixture

OURS = {
    "prompt": "question",
    "answer": "reply",
    "thumb": "liked",
    "rating": "stars",
    "edit": "better",
    "comment": "said",
    "complaint": "problem",
    "user": "annotator",
    "time": "when",
}
FIXTURE_COUNTS: list[tuple[str, str, int, dict[str, int], dict[str, int]]] = [
    ("argilla", "argilla.json", 6, {"choice": 3, "thumb": 1, "edit": 1, "complaint": 1},
     {"not_submitted": 1, "machine_score": 1, "no_answer_named": 1, "unknown_scale": 1, "no_answer": 1}),
    ("argilla", "argilla-hub.jsonl", 3, {"thumb": 1, "comment": 1},
     {"not_submitted": 1, "machine_score": 2, "unknown_scale": 2, "no_prompt": 1}),
    ("argilla", "argilla-parquet.jsonl", 3, {"choice": 1, "thumb": 1}, {"not_submitted": 1}),
    ("csv", "csv.csv", 4, {"thumb": 3, "rating": 2, "edit": 1, "comment": 1, "complaint": 1},
     {"unknown_value": 1, "no_answer": 1, "no_time": 2, "ragged_row": 1}),
    ("csv", "csv-pairs.csv", 2, {"choice": 1}, {}),
    ("huggingface", "huggingface.jsonl", 8, {"choice": 3, "thumb": 2},
     {"no_common_prompt": 1, "unknown_columns": 1, "not_read": 2}),
    ("huggingface", "huggingface-ultrafeedback.json", 3, {"rating": 2}, {"no_score": 1, "not_read": 1}),
    ("huggingface", "huggingface-arena.json", 4, {"choice": 2}, {"no_common_prompt": 1, "unknown_value": 1}),
    ("label-studio", "label-studio-ranker.json", 2, {"choice": 1}, {"unknown_value": 1}),
    ("label-studio", "label-studio.json", 3, {"choice": 2, "comment": 1, "edit": 1, "complaint": 1, "thumb": 1},
     {"cancelled": 1, "no_prompt": 1}),
    ("label-studio", "label-studio-min.json", 2, {"thumb": 1, "comment": 1}, {"unknown_scale": 1}),
    ("label-studio", "label-studio-dialogues.json", 2, {"thumb": 2},
     {"machine_score": 1, "unknown_value": 1, "not_read": 2, "unknown_speaker": 1}),
    ("langfuse", "langfuse.json", 2, {"thumb": 2, "comment": 1},
     {"unknown_scale": 1, "machine_score": 1, "no_answer": 1}),
    ("langfuse", "langfuse-scores-v3.jsonl", 0, {"edit": 1, "comment": 1, "complaint": 1},
     {"no_answer_named": 1, "unknown_scale": 1, "not_json": 1}),
    ("langfuse", "langfuse.csv", 2, {}, {"ragged_row": 1}),
    ("langfuse", "langfuse-v4.jsonl", 3, {"thumb": 2, "comment": 2},
     {"inner_observation": 1, "no_score_source": 2, "no_answer_named": 1}),
    ("langsmith", "langsmith.jsonl", 2, {"thumb": 1, "comment": 1, "rating": 1, "edit": 1, "complaint": 1},
     {"inner_run": 1, "no_answer": 1, "machine_score": 1, "half_a_comparison": 1, "unknown_scale": 1,
      "no_answer_named": 1}),
    ("langsmith", "langsmith-langgraph.jsonl", 2, {"thumb": 1}, {"no_answer": 2, "unknown_value": 1}),
    ("litellm", "litellm.jsonl", 2, {}, {"no_chat": 1, "no_content": 1, "failed_call": 1, "no_object": 1}),
    ("litellm", "litellm-buckets.jsonl", 3, {}, {"not_json": 1, "redacted": 1, "cut_text": 1}),
    ("open-webui", "open-webui.json", 2, {"regenerate": 1, "thumb": 2, "comment": 1, "complaint": 1, "rating": 1},
     {"no_answer": 1}),
    ("open-webui", "open-webui-feedback.json", 2, {"thumb": 1, "comment": 1, "choice": 1},
     {"no_answer_named": 1, "outside_scale": 1}),
    ("open-webui", "open-webui-edits.json", 5,
     {"edit": 1, "thumb": 2, "rating": 1, "complaint": 1, "choice": 1}, {"no_value": 1}),
    ("openai", "openai-comparisons.json", 2, {"choice": 2, "thumb": 1, "comment": 1, "complaint": 1},
     {"unfinished": 1, "no_choice": 1, "no_answer_named": 1}),
    ("openai", "openai-responses.jsonl", 3, {}, {"no_prompt": 3}),
    ("openai", "openai.jsonl", 6, {"choice": 1}, {"no_prompt": 1, "no_answer": 1}),
    ("openai", "openai-chatgpt.json", 2, {"regenerate": 1, "thumb": 1, "comment": 1}, {"no_answer_named": 1}),
    ("pairs", "pairs.jsonl", 4, {"choice": 2}, {"no_answer": 1, "no_user": 1}),
    ("pairs", "pairs-conversations.jsonl", 8, {"choice": 4},
     {"no_prompt": 1, "no_common_prompt": 1, "not_read": 2}),
    ("phoenix", "phoenix.jsonl", 2, {"thumb": 1, "comment": 2, "complaint": 1},
     {"inner_span": 1, "machine_score": 1, "unknown_scale": 1, "no_answer_named": 1, "no_id": 1}),
    ("phoenix", "phoenix-flat.json", 2, {"thumb": 1, "comment": 1}, {"no_messages": 1}),
    ("sharegpt", "sharegpt.json", 5, {"choice": 1, "thumb": 1}, {"no_answer": 2}),
    ("sharegpt", "sharegpt-messages.jsonl", 2, {"thumb": 1}, {}),
]  # fmt: skip


def options_for(name: str) -> Options:
    return Options(columns=OURS) if name == "csv.csv" else Options()


@pytest.mark.parametrize("source, name, answers, feedback, refused", FIXTURE_COUNTS)
def test_everything_in_a_fixture_is_found_or_refused_with_a_reason(source, name, answers, feedback, refused):
    found, tally = read_fixture(source, name, options_for(name))
    assert (tally.answers, dict(tally.feedback), dict(tally.refused)) == (answers, feedback, refused)
    assert len({answer.key for answer in found.answers}) == answers
    assert len({one.key for one in found.feedback}) == len(found.feedback)
    assert {reason: len(examples) for reason, examples in tally.examples.items()} == {
        reason: min(3, count) for reason, count in refused.items()
    }


def test_every_source_and_every_fixture_is_tried():
    assert {source for source, *_ in FIXTURE_COUNTS} == IMPORTERS.keys()
    assert {name for _, name, *_ in FIXTURE_COUNTS} == {path.name for path in FIXTURES.iterdir()}


@pytest.mark.parametrize("source, name", [(source, name) for source, name, *_ in FIXTURE_COUNTS])
def test_reading_a_fixture_again_finds_the_same(source, name):
    assert read_fixture(source, name, options_for(name)) == read_fixture(source, name, options_for(name))


def say(source: str, name: str, kind: str, options: Options | None = None) -> ImportedFeedback:
    found, _ = read_fixture(source, name, options or options_for(name))
    [one, *_] = [one for one in found.feedback if name_type(one.says) == kind]
    return one


def test_users_and_times_are_kept_where_the_source_says_them():
    said = say("label-studio", "label-studio.json", "choice")
    assert (said.user, said.at) == ("7", datetime(2026, 7, 2, 9, 1, tzinfo=UTC))
    [asked, *_] = read_fixture("langfuse", "langfuse.json")[0].answers
    assert (asked.user, asked.conversation, asked.at) == ("ines", "s-1", datetime(2026, 3, 1, 10, tzinfo=UTC))
    assert asked.messages[0] == {"role": "system", "content": "You work in a lamp shop."}
    logged = read_fixture("litellm", "litellm.jsonl")[0].answers
    assert [(one.user, one.at.year) for one in logged if isinstance(one.at, datetime)] == [
        ("ines", 2026),
        ("tomas", 2025),
    ]


def test_what_a_source_does_not_say_is_counted_by_field_and_not_invented():
    _, tally = read_fixture("openai", "openai-chatgpt.json")
    assert dict(tally.unsaid) == {"feedback.user": 1, "feedback.time": 1}
    found, tally = read_fixture("argilla", "argilla.json")
    assert tally.unsaid["feedback.time"] == 6
    assert all(one.at is None for one in found.feedback)


def test_an_edit_and_a_complaint_say_what_their_source_said():
    edit = say("langfuse", "langfuse-scores-v3.jsonl", "edit")
    assert (edit.answer, edit.says) == ("obs-9", Edit(text="The lamp is on its way and arrives on Friday."))
    assert say("langsmith", "langsmith.jsonl", "complaint").says == Complaint(category="off_topic")
    assert say("label-studio", "label-studio.json", "edit").answer == "1:answer_1"


def test_a_choice_names_both_answers_and_the_order_in_which_they_stood():
    preferred = say("label-studio", "label-studio.json", "choice")
    assert (preferred.answer, preferred.says) == ("1:answer_2", Preferred("1:answer_1", "1:answer_2", "1:answer_1"))
    assert say("open-webui", "open-webui-feedback.json", "choice").says == Preferred("b1", "b2")


def test_of_ranks_each_answer_is_preferred_to_those_of_the_next_rank():
    found, _ = read_fixture("argilla", "argilla.json")
    ranked = [(one.answer, one.says.other) for one in found.feedback if "rank" in one.key]  # type: ignore[union-attr]
    assert ranked == [("r3:response-3", "r3:response-1"), ("r3:response-3", "r3:response-2")]


def test_another_answer_to_the_same_message_replaces_the_one_before():
    assert say("openai", "openai-chatgpt.json", "regenerate").says == Replaced("m3")
    replaced = say("open-webui", "open-webui.json", "regenerate")
    assert (replaced.answer, replaced.says) == ("a1", Replaced("a2"))


def test_an_edited_message_is_the_models_words_and_the_users_edit_of_them():
    found, _ = read_fixture("open-webui", "open-webui-edits.json")
    [edited, failed, newer, *_] = found.answers
    assert (edited.text, edited.model) == ("It left.", "small-1")
    assert say("open-webui", "open-webui-edits.json", "edit").says == Edit(text="It left our store on Monday morning.")
    assert [failed.error, newer.text] == ["The model went away.", "Two kilograms."]
    assert [one["content"] for one in failed.messages][1] == "It left our store on Monday morning."


def test_a_thumb_down_beside_another_model_prefers_the_other():
    said = say("open-webui", "open-webui-edits.json", "choice")
    assert (said.answer, said.says) == ("c1", Preferred("c2", "c2"))


@pytest.mark.parametrize(
    "columns, said",
    [
        ({}, "no column 'prompt': say --column prompt=COLUMN, one of Question, Reply"),
        ({"prompt": "Asked"}, "no column 'Asked': say --column prompt=COLUMN, one of Question, Reply"),
        ({"prompt": "Question"}, "no column 'answer': say --column answer=COLUMN, one of Question, Reply"),
    ],
)
def test_a_table_whose_columns_are_named_otherwise_says_which_there_are(columns: dict[str, str], said: str, tmp_path):
    (tmp_path / "table.csv").write_text("Question,Reply\nWhere?,Here.\n")
    _, tally = read_files("csv", [tmp_path / "table.csv"], Options(columns=columns))
    assert tally.examples["no_column"] == [f"table.csv, record 1: {said}"]


def test_a_comparison_in_chatgpt_says_which_answer_stood_on_the_left():
    said = say("openai", "openai-comparisons.json", "choice")
    new = "comparison:k1:new"
    assert (said.answer, said.says) == ("comparison:k1:original", Preferred(new, new, new))
    assert {len(answer.messages) for answer in read_fixture("openai", "openai-comparisons.json")[0].answers} == {1}


def test_calls_of_tools_are_in_the_shape_of_openai_whoever_wrote_them_down():
    [found, *_] = read_fixture("phoenix", "phoenix-flat.json")[0].answers
    [texts, called, result] = found.messages
    assert [part["text"] for part in texts["content"]] == ["Where is", "my lamp?"]
    assert called["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]
    assert result == {"role": "tool", "content": "on its way", "tool_call_id": "c1"}
    [_, lang_chain] = read_fixture("langsmith", "langsmith-langgraph.jsonl")[0].answers
    function = {"name": "find", "arguments": '{"what": "lamp"}'}
    assert lang_chain.tool_calls == [{"id": "c1", "type": "function", "function": function}]
    [logged, cut, _] = read_fixture("openai", "openai-responses.jsonl")[0].answers
    assert [one["role"] for one in logged.messages] == ["system", "user", "assistant", "tool"]
    assert (logged.tools, cut.finish_reason) == (
        [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
        "length",
    )


def test_the_outermost_observation_stands_for_its_trace_where_there_are_no_traces():
    found, _ = read_fixture("langfuse", "langfuse-v4.jsonl")
    assert [(one.key, one.user) for one in found.answers] == [("t-4", "ines"), ("o-gen", "ines"), ("t-ui", "ines")]
    assert [(one.answer, one.user) for one in found.feedback if isinstance(one.says, Thumb)] == [
        ("t-4", None),
        ("t-4", "Tomas"),
    ]


def test_what_litellm_wrote_as_python_is_read_and_what_it_cut_or_hid_is_refused():
    found, tally = read_fixture("litellm", "litellm-buckets.jsonl")
    [first, completed, responded] = found.answers
    assert [one["content"] for one in first.messages] == ["You're short.", "Where is\nmy lamp?"]
    assert (first.text, first.user, first.finish_reason) == ("It's on its way.", "ines", "stop")
    assert (completed.messages[0]["content"][:6], completed.text) == ("[INST]", "Of every size.")
    assert (responded.text, responded.user) == ("Two kilograms.", "tomas")
    assert "Python" in tally.examples["not_json"][0]


def test_pairs_keep_the_system_message_and_the_tools_that_the_model_was_offered():
    found, _ = read_fixture("pairs", "pairs-conversations.jsonl")
    roles = [[one["role"] for one in answer.messages] for answer in found.answers[::2]]
    assert roles == [["user"], ["user"], ["system", "user"], ["user"]]
    called = found.answers[2]
    assert (called.text, called.tools and called.tools[0]["function"]["name"]) == ("", "hours")
    assert [call["function"]["name"] for call in called.tool_calls or []] == ["hours"]


def test_a_transcript_without_a_prompt_column_is_split_where_the_two_sides_part():
    found, _ = read_fixture("huggingface", "huggingface.jsonl")
    [chosen, rejected, *_] = found.answers
    assert [one["content"] for one in chosen.messages] == ["Where is my lamp?", "Which one?", "The red one."]
    assert (chosen.text, rejected.text, rejected.messages) == ("It left on Monday.", "No idea.", chosen.messages)


@pytest.mark.parametrize(
    "value, scale, expected",
    [(0.8, Scale(0, 1), Thumb(value="up")), (-1, Scale(-1, 1), Thumb(value="down")), (7, Scale(0, 10), Rating(value=4)),
     (1, Scale(1, 5), Rating(value=1)), (5, Scale(1, 5), Rating(value=5))],
)  # fmt: skip
def test_a_number_is_read_on_the_scale_that_the_operator_states(value: Any, scale: Scale, expected: Any, tmp_path):
    file = tmp_path / "scores.jsonl"
    file.write_text(f'{{"id": "s", "traceId": "t", "name": "tone", "dataType": "NUMERIC", "value": {value}}}')
    found, _ = read_files("langfuse", [file], Options({"tone": scale}))
    assert [one.says for one in found.feedback] == [expected]
