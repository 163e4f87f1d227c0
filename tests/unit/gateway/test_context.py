"""A prompt that cannot fit is refused; one that may is not."""

from typing import Any

import pytest

from services.gateway.domain.context import check_context, count_least_tokens
from services.gateway.domain.errors import ContextLengthExceeded
from services.gateway.domain.requests import ChatRequest, read_request


def ask(content: Any, **more: Any) -> ChatRequest:
    body = {"model": "heliotrope", "messages": [{"role": "user", "content": content}]}
    return read_request(body | more, None)


@pytest.mark.parametrize(
    "content, least",
    [
        ("Where is my order?", 4),
        ([{"type": "text", "text": "Where is"}, {"type": "text", "text": "my order?"}], 4),
        ("x" * 160, 11),
        ("\u4f60\u597d" * 30, 20),
        ("", 0),
        (None, 0),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}], 0),
    ],
)
def test_the_fewest_tokens_of_a_text(content: Any, least: int):
    assert count_least_tokens(ask(content)) == least


def test_a_prompt_of_thirty_thousand_words_is_refused_for_a_context_of_eight_thousand():
    with pytest.raises(ContextLengthExceeded) as refused:
        check_context(ask("word " * 30_000), 8_192)
    assert (refused.value.status, refused.value.code, refused.value.param) == (
        400,
        "context_length_exceeded",
        "messages",
    )


def test_what_is_asked_for_counts_too():
    check_context(ask("word " * 100, max_tokens=100), 200)
    with pytest.raises(ContextLengthExceeded):
        check_context(ask("word " * 100, max_completion_tokens=101), 200)


def test_an_unknown_context_refuses_nothing():
    check_context(ask("word " * 30_000), 0)
