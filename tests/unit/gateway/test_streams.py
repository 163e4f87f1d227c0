"""Events out of bytes, and answers out of chunks."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.beginnings import Beginnings
from services.gateway.domain.completions import Answer, may_be_last, merge_completions
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


@given(st.lists(st.integers(0, len(STREAM)), max_size=20), st.sampled_from([b"\r", b"\r\n"]))
def test_lines_may_end_otherwise_and_a_mark_stand_before_them(cuts: list[int], line_end: bytes):
    stream = b"\xef\xbb\xbf" + STREAM.replace(b"\r\n", b"\n").replace(b"\n", line_end)
    bounds = [0, *sorted(cuts), len(stream)]
    assert parse([stream[start:end] for start, end in itertools.pairwise(bounds)]) == EVENTS


def test_a_stream_that_ends_without_an_empty_line_still_ends_its_event():
    assert parse([b"data: last"]) == [b"last"]


def chunk(*, finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_an_answer_is_put_together_from_its_chunks():
    answer = Answer()
    for part in (
        chunk(role="assistant"),
        chunk(content="Send "),
        chunk(content="us", finish="stop"),
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
    ):
        answer.add_chunk(part)
    assert (answer.text, answer.finish_reason) == ("Send us", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (9, 5)


def test_the_pieces_of_a_tool_call_are_joined():
    answer = Answer()
    answer.add_chunk(chunk(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "find", "arguments": '{"o'}}]))
    answer.add_chunk(chunk(tool_calls=[{"index": 0, "function": {"arguments": 'rder": 7}'}}]))
    answer.add_chunk(chunk(tool_calls=[{"index": 0, "function": "strange"}]))
    [call] = answer.tool_calls
    assert call["function"] == {"name": "find", "arguments": '{"order": 7}'}


def test_strange_bodies_make_empty_answers_not_errors():
    for body in ({}, {"choices": None}, {"choices": [7]}, {"choices": [{"message": "x"}]}, {"usage": 3}):
        answer = Answer()
        answer.add_completion(body)
        answer.add_chunk(body)
        assert answer.text == ""


def test_several_completions_become_one_reply_that_counts_the_prompt_once():
    bodies: list[dict[str, Any]] = [
        {
            "id": f"req-{text}",
            "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens},
        }
        for text, tokens in (("Send us", 2), ("Which lamp?", 3))
    ]
    answers = [Answer(), Answer()]
    for answer, body in zip(answers, bodies, strict=True):
        answer.add_completion(body)
    reply = merge_completions(bodies, answers)
    assert [(choice["index"], choice["message"]["content"]) for choice in reply["choices"]] == [
        (0, "Send us"),
        (1, "Which lamp?"),
    ]
    assert reply["usage"] == {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}


def test_only_an_ending_chunk_may_be_the_last():
    assert not may_be_last(chunk(content="Send"))
    assert may_be_last(chunk(finish="stop"))
    assert may_be_last({"choices": [], "usage": {}})


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12))
def test_choices_begin_in_their_order_and_nothing_is_lost(said: list[tuple[int, bool]]):
    """`said` are parts by place, True for the last of it."""
    beginnings: Beginnings[tuple[int, int]] = Beginnings(3)
    took: list[tuple[int, int]] = []
    came: list[tuple[int, int]] = []
    ended: set[int] = set()

    def hear(parts: list[tuple[int, int]]) -> None:
        for part in parts:
            assert set(range(part[0])) <= ended | {place for place, _ in came}
            came.append(part)

    for number, (place, is_last) in enumerate(said):
        if place in ended:
            continue
        took.append((place, number))
        hear(beginnings.take(place, took[-1]))
        if is_last:
            ended.add(place)
            hear(beginnings.end(place))
    for place in set(range(3)) - ended:
        ended.add(place)
        hear(beginnings.end(place))
    for place in range(3):
        assert [one for one in came if one[0] == place] == [one for one in took if one[0] == place]
    assert len(came) == len(took)
