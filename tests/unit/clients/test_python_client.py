"""What the Python client makes of answers, without sending anything."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from heliotrope_client import Heliotrope, Interaction, edit, thumb
from heliotrope_client.answers import MAX_BATCH, assess, make_request, next_pause, read_retry_after, split
from heliotrope_client.items import Item


def test_a_batch_is_neither_too_long_nor_too_large():
    many = [thumb("a", "up") for _ in range(2_500)]
    assert [len(batch) for batch in split(many)] == [MAX_BATCH, MAX_BATCH, 500]
    large = [edit("a", "x" * 1_500_000) for _ in range(5)]
    batches = list(split(large))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert [event for batch in batches for event in batch] == large
    assert list(split([])) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_when_the_server_says(status: int):
    events = [thumb("a", "up")]
    verdict = assess(events, httpx.Response(status, headers={"retry-after": "7"}))
    assert (verdict.again, verdict.pause_seconds, verdict.rejected) == (events, 7.0, None)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Sun, 22 Nov 2026 12:00:20 GMT", 20.0),
        ("Sun, 22 Nov 2020 12:00:20 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30.0),
        ("inf", 30.0),
        ("nan", 0.0),
        ("-3", 0.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_every_form_of_retry_after_is_read(text: str, seconds: float):
    assert read_retry_after(text, datetime(2026, 11, 22, 12, tzinfo=UTC)) == seconds


def test_an_event_says_when_it_is_sent():
    body = thumb("a", "up").body()
    assert body["occurred_at"] <= body["sent_at"]


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 422])
def test_what_will_never_pass_is_not_tried_again(status: int):
    events = [thumb("a", "up")]
    verdict = assess(events, httpx.Response(status, text="no JSON"))
    assert verdict.again == []
    assert verdict.rejected is not None
    assert (verdict.rejected.status, verdict.rejected.events) == (status, events)


def test_of_a_batch_only_what_is_unknown_is_sent_again():
    events = [thumb("a", "up"), thumb("b", "up"), thumb("c", "up")]
    wrong = {"status": 422, "title": "Invalid request", "errors": [{"field": "events.2.value", "message": "no"}]}
    outcomes = [{"outcome": "accepted"}, {"outcome": "retry"}, {"outcome": "rejected", "problem": wrong}]
    verdict = assess(events, httpx.Response(200, json={"outcomes": outcomes}))
    assert verdict.again == [events[1]]
    assert verdict.rejected is not None
    assert verdict.rejected.events == [events[2]]


def test_an_event_keeps_its_id_and_time_however_often_it_is_sent():
    event = thumb("a", "up")
    (path, first), (_, again) = make_request([event]), make_request([event])
    assert path == "/v1/feedback"
    assert first | {"sent_at": None} == again | {"sent_at": None}
    path, batch = make_request([event, event])
    assert path == "/v1/feedback/batch"
    assert [body["event_id"] for body in batch["events"]] == [str(event.event_id)] * 2


def test_pauses_grow_honour_the_server_and_end():
    assert [next_pause(attempt, 0, 0) for attempt in (1, 2, 3)] == [0.1, 0.2, 0.4]
    assert next_pause(1, 5, 0) == 5
    assert next_pause(30, 0, 0) == 30


def test_a_client_has_a_key_or_a_token():
    wrongs: list[dict[str, Any]] = [{}, {"key": "hk", "feedback_token": "t"}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="either a key or a feedback token"):
            Heliotrope("http://127.0.0.1:1", **wrong)


def test_an_interaction_and_events_go_to_their_own_doors():
    interaction = Interaction([{"role": "user", "content": "Hi"}], "Hello", "gpt")
    items: list[Item] = [
        interaction,
        thumb(interaction.interaction_id, "up"),
        thumb(interaction.interaction_id, "down"),
    ]
    assert [make_request(batch)[0] for batch in split(items)] == ["/v1/interactions", "/v1/feedback/batch"]
