"""What the gateway reads of a chat request, and what it lets through."""

from typing import Any

import pytest

from services.gateway.domain.errors import InvalidChatRequest
from services.gateway.domain.requests import read_request

BODY: dict[str, Any] = {"model": "heliotrope", "messages": [{"role": "user", "content": "Where is my order?"}]}


def test_everything_but_the_model_reaches_the_server_as_it_came():
    body = BODY | {"tools": [{"type": "function"}], "seed": 7, "x_unknown": {"deep": [1, 2.5, None]}, "user": "ada"}
    assert read_request(body, None).body_for("/models/2") == body | {"model": "/models/2"}


@pytest.mark.parametrize(
    "change, param",
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "hello"}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": ["hello"]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages.0.content"),
        ({"stream": "yes"}, "stream"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 17}, "n"),
        ({"user": 7}, "user"),
        ({"metadata": "c-1042"}, "metadata"),
    ],
)
def test_a_field_that_the_gateway_acts_on_is_checked(change: dict[str, Any], param: str):
    with pytest.raises(InvalidChatRequest) as caught:
        read_request(BODY | change, None)
    assert caught.value.param == param


def test_a_body_that_is_no_object_is_refused():
    with pytest.raises(InvalidChatRequest):
        read_request([BODY], None)


def test_the_conversation_comes_from_the_body_else_from_the_header():
    assert read_request(BODY | {"metadata": {"conversation_id": "c-1"}}, "c-2").conversation_id == "c-1"
    assert read_request(BODY, "c-2").conversation_id == "c-2"
    assert read_request(BODY, None).conversation_id is None


def test_null_means_the_default():
    request = read_request(BODY | {"n": None, "stream": None, "user": None, "metadata": None}, None)
    assert (request.choices, request.stream, request.user) == (1, False, None)


def test_each_of_several_choices_is_a_request_of_its_own_with_a_seed_of_its_own():
    request = read_request(BODY | {"n": 2, "seed": 7}, None)
    assert [request.body_for("m", choice) for choice in (0, 1)] == [
        BODY | {"model": "m", "seed": 7},
        BODY | {"model": "m", "seed": 8},
    ]


def test_feedback_is_solicited_by_side_by_side_answers_or_when_the_front_end_says_so():
    assert not read_request(BODY, None).solicits
    assert read_request(BODY | {"n": 2}, None).solicits
    assert read_request(BODY | {"metadata": {"solicited": "true"}}, None).solicits


def test_text_is_served_in_canonical_form_and_all_else_as_it_came():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    said = [
        {"role": "developer", "content": "Be brief. "},
        {"role": "user", "content": [{"type": "text", "text": " Where is"}, {"type": "text", "text": "it?"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "user", "content": [picture, {"type": "text", "text": "And this? "}], "name": "ines"},
    ]
    assert read_request(BODY | {"messages": said}, None).body_for("m")["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is\nit?"},
        said[2],
        {"role": "user", "content": [picture, {"type": "text", "text": "And this?"}], "name": "ines"},
    ]
