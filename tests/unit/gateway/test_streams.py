"""Events out of bytes, and answers out of chunks."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.completions import Answers, may_be_last
from services.gateway.domain.sse import EventParser

STREAM = b'data: {"a": "\xe2\x80\xa8"}\r\n\r\n: keep-alive\n\ndata:one\ndata: two\nid: 7\n\ndata: [DONE]\n\n'
EVENTS = [b'{"a": "\xe2\x80\xa8"}', b"one\ntwo", b"[DONE]"]


def parse(pieces: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.finish()


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_do_not_depend_on_where_the_bytes_are_cut(cuts: list[int]):
    bounds = [0, *sorted(cuts), len(STREAM)]
    assert parse([STREAM[start:end] for start, end in itertools.pairwise(bounds)]) == EVENTS


def test_a_stream_that_ends_without_an_empty_line_still_ends_its_event():
    assert parse([b"data: last"]) == [b"last"]


def chunk(index: int, *, finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_interleaved_choices_are_put_together_each_for_itself():
    answers = Answers()
    for part in (
        chunk(0, role="assistant"),
        chunk(0, content="Send "),
        chunk(1, content="Which"),
        chunk(0, content="us", finish="stop"),
        chunk(1, content=" lamp?", finish="length"),
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
    ):
        answers.add_chunk(part)
    assert [(answer.text, answer.finish_reason) for answer in answers.choices.values()] == [
        ("Send us", "stop"),
        ("Which lamp?", "length"),
    ]
    assert (answers.prompt_tokens, answers.completion_tokens) == (9, 5)


def test_the_pieces_of_a_tool_call_are_joined():
    answers = Answers()
    answers.add_chunk(chunk(0, tool_calls=[{"index": 0, "id": "c1", "function": {"name": "find", "arguments": '{"o'}}]))
    answers.add_chunk(chunk(0, tool_calls=[{"index": 0, "function": {"arguments": 'rder": 7}'}}]))
    [call] = answers.choices[0].tool_calls
    assert call["function"] == {"name": "find", "arguments": '{"order": 7}'}


def test_strange_bodies_make_empty_answers_not_errors():
    for body in ({}, {"choices": None}, {"choices": [7]}, {"choices": [{"message": "x"}]}, {"usage": 3}):
        answers = Answers()
        answers.add_completion(body)
        answers.add_chunk(body)
        assert all(answer.text == "" for answer in answers.choices.values())


def test_only_an_ending_chunk_may_be_the_last():
    assert not may_be_last(chunk(0, content="Send"))
    assert may_be_last(chunk(0, finish="stop"))
    assert may_be_last({"choices": [], "usage": {}})
