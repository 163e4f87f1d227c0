"""One question is one prompt, however a client wrote it down; nothing the model saw becomes something else."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.conversation import canonicalize, derive_template_messages, explain_unrenderable

QUESTION = [{"role": "user", "content": "Where is it?"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "order_lookup", "arguments": '{"order": "A-17"}'}}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "Shipped on Monday", "tool_call_id": "call_1"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.mark.parametrize(
    "written",
    [
        [{"role": "user", "content": [{"type": "text", "text": "Where is it?"}]}],
        [{"role": "user", "content": ["Where is it?"]}],
        [{"role": "user", "content": [{"type": "input_text", "text": "Where is it?"}]}],
        [{"role": "user", "content": "Where is it? "}],
        [{"role": "user", "content": "\n\tWhere is it?\u00a0"}],
        [{"role": "user", "content": "Where is it?", "tool_calls": None, "cache_control": {"type": "ephemeral"}}],
    ],
)
def test_one_question_has_one_form(written: list[dict[str, object]]):
    assert canonicalize(written) == QUESTION


def test_composed_and_decomposed_letters_are_the_same_text():
    decomposed = canonicalize([{"role": "user", "content": "cafe\u0301"}])
    assert decomposed == canonicalize([{"role": "user", "content": "café"}])


def test_a_developer_speaks_as_the_system():
    assert canonicalize([{"role": "developer", "content": "Be brief."}]) == [{"role": "system", "content": "Be brief."}]


def test_a_tool_call_without_content_stays_a_call_and_its_result_keeps_its_id():
    written: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [{**CALL, "index": 0}], "refusal": None},
        {**RESULT, "content": [{"type": "text", "text": "Shipped on Monday"}]},
    ]
    assert canonicalize(written) == [CALLED, RESULT]


def test_arguments_that_came_as_an_object_are_written_as_json():
    call = {"function": {"name": "order_lookup", "arguments": {"order": "A-17"}}}
    (turn,) = canonicalize([{"role": "assistant", "tool_calls": [call]}])
    assert turn["tool_calls"][0]["function"]["arguments"] == '{"order": "A-17"}'


def test_the_retired_function_call_is_a_tool_call():
    function = {"name": "order_lookup", "arguments": "{}"}
    called = {"role": "assistant", "content": None, "function_call": function}
    turn, result = canonicalize([called, {"role": "function", "name": "order_lookup", "content": "shipped"}])
    assert turn["tool_calls"] == [{"id": "call00001", "type": "function", "function": function}]
    assert (result["role"], result["tool_call_id"]) == ("tool", "call00001")


def test_results_that_name_no_call_answer_the_calls_in_order():
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in "ab"]
    _, one, other, more = canonicalize(
        [{"role": "assistant", "tool_calls": calls}, *[{"role": "tool", "content": "7"}] * 3]
    )
    assert (one["tool_call_id"], other["tool_call_id"], more.get("tool_call_id")) == ("a", "b", None)


def test_a_call_of_no_function_is_kept_by_its_hash_and_not_trained_on():
    call = {"id": "1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}}
    turns = canonicalize([QUESTION[0], {"role": "assistant", "content": "", "tool_calls": [call]}, RESULT])
    assert turns[1]["tool_calls"][0].keys() == {"id", "type", "sha256"}
    assert explain_unrenderable(turns) == "unknown_call"


def test_a_picture_stands_as_its_hash():
    (turn,) = canonicalize([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}])
    assert [part["type"] for part in turn["content"]] == ["text", "image_url"]
    assert "base64" not in str(turn)
    assert len(turn["content"][1]["sha256"]) == 64


def test_a_refusal_is_what_was_said():
    (turn,) = canonicalize([{"role": "assistant", "content": None, "refusal": "I cannot help with that."}])
    assert turn["content"] == "I cannot help with that."


def test_thoughts_stay_with_the_assistant_alone():
    thought = {"reasoning_content": "The user wants it."}
    assert canonicalize([{"role": "assistant", "content": "Monday", **thought}])[0]["reasoning_content"]
    assert "reasoning_content" not in canonicalize([{"role": "user", "content": "When?", **thought}])[0]


def test_thoughts_that_stand_in_details_alone_are_the_same_thoughts():
    details = [{"type": "reasoning.text", "text": "The user "}, {"type": "reasoning.summary", "summary": "wants it."}]
    unread = [{"type": "reasoning.encrypted", "data": "AbC="}, {"text": 7}, "more"]
    (turn,) = canonicalize([{"role": "assistant", "content": "Monday", "reasoning_details": [*details, *unread]}])
    assert turn == {"role": "assistant", "content": "Monday", "reasoning_content": "The user wants it."}
    (turn,) = canonicalize([{"role": "assistant", "content": "Monday", "reasoning_details": unread}])
    assert turn == {"role": "assistant", "content": "Monday"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["content", "refusal", "tool_calls", "function_call", "tool_call_id", "name", "reasoning"])


@given(st.lists(st.builds(lambda role, rest: {"role": role, **rest}, st.text(), st.dictionaries(FIELDS, JSON))))
def test_any_json_has_a_form_which_is_its_own_form(messages: list[dict[str, object]]):
    kept = copy.deepcopy(messages)
    once = canonicalize(messages)
    assert canonicalize(once) == once
    assert messages == kept
    explain_unrenderable(once)


SYSTEM = {"role": "system", "content": "Be brief."}
ASKED, SAID = QUESTION[0], {"role": "assistant", "content": "On its way."}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([ASKED], None),
        ([SYSTEM, ASKED], None),
        ([SYSTEM, ASKED, SAID, ASKED], None),
        ([ASKED, CALLED, RESULT], None),
        ([ASKED, CALLED, RESULT, RESULT, SAID, ASKED], None),
        ([ASKED, ASKED], "roles_do_not_alternate"),
        ([SAID, ASKED], "roles_do_not_alternate"),
        ([ASKED, CALLED, ASKED], "roles_do_not_alternate"),
        ([ASKED, SYSTEM], "late_system"),
        ([SYSTEM, SYSTEM, ASKED], "late_system"),
        ([{"role": "user", "content": ""}], "empty_turn"),
        ([{"role": "critic", "content": "Hm."}], "unknown_role"),
        ([ASKED, RESULT], "orphan_tool_result"),
        ([ASKED, SAID], "no_question"),
        ([SYSTEM], "no_question"),
        ([], "no_question"),
        (canonicalize([{"role": "user", "content": [PICTURE]}]), "media"),
    ],
)
def test_what_no_template_renders_is_named(messages: list[dict[str, object]], reason: str | None):
    assert explain_unrenderable(messages) == reason


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (r'{"q": "\ud83d"}', r'{"q": "\ufffd"}'),
        (r'{"q": "\uDE00 \ud83d\ude00"}', r'{"q": "\ufffd \ud83d\ude00"}'),
        (r'{"q": "\\ud83d"}', r'{"q": "\\ud83d"}'),
        (r'{"q": "\\\ud83d\u0041"}', r'{"q": "\\\ufffd\u0041"}'),
        ('{"q": "\ud83d"}', '{"q": "\ufffd"}'),
        (r'{"q": "é\n"', r'{"q": "é\n"'),
        ({"q": "\ud83d"}, '{"q": "\ufffd"}'),
    ],
)
def test_half_a_character_in_arguments_is_replaced_and_all_else_stays(written: object, form: str):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": written}}
    (turn,) = canonicalize([{"role": "assistant", "content": "Hm \ud83d", "tool_calls": [call]}])
    assert turn["tool_calls"][0]["function"]["arguments"] == form
    assert turn["content"] == "Hm \ufffd"
    assert canonicalize([turn]) == [turn]


def test_half_a_character_in_arguments_that_were_stored_before_is_replaced_for_the_template():
    function = {"name": "f", "arguments": r'{"q": "\ud83d"}'}
    (turn,) = derive_template_messages([{"role": "assistant", "content": "", "tool_calls": [{"function": function}]}])
    assert turn["tool_calls"][0]["function"]["arguments"] == {"q": "\ufffd"}
