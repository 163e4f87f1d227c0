"""The browser client's queue in Chromium, before an ingest that answers as it is told."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from local.chromium import Chromium, Tab
from tests.integration.gateway.model_server import serve, wait_until

ANSWER = "{ interactionId: '0199c2f0-7a3e-7c54-9d7b-1f2e3a4b5c6d', token: 'a-token' }"
STORED = "Object.keys(localStorage).filter((key) => key.startsWith('heliotrope.feedback')).length"


class Ingest:
    """Gives one answer after the other, the last one for ever; keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = [(202, {})]
        self.events: list[dict[str, Any]] = []
        self.app = FastAPI()
        self.app.add_api_route("/", lambda: HTMLResponse("<!doctype html><title>empty</title>"))
        self.app.add_api_route("/heliotrope.js", lambda: FileResponse("clients/browser/heliotrope.js"))
        self.app.add_api_route("/v1/feedback", self.take, methods=["POST"])

    async def take(self, request: Request) -> Response:
        self.events.append(json.loads(await request.body()))
        status, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Response("{}", status, headers)


@pytest.fixture
def ingest() -> Iterator[tuple[Ingest, str]]:
    ingest = Ingest()
    with serve(ingest.app) as url:
        yield ingest, url


@pytest.fixture
def tab(chromium: Chromium, ingest: tuple[Ingest, str]) -> Iterator[Tab]:
    with chromium.open(ingest[1], width=400, height=400) as tab:
        tab.evaluate("localStorage.clear()")
        open_client(tab)
        yield tab


def open_client(tab: Tab) -> None:
    """A client in the page as `client`; what it says in `said`, the pauses that it makes in `pauses`."""
    tab.evaluate(
        "window.pauses = []; window.said = []; window.later = window.setTimeout;"
        " window.setTimeout = (act, wait) => { pauses.push(wait); return later(act, Math.min(wait, 20)); };"
        " import('/heliotrope.js').then(({ Feedback, readRetryAfter }) => {"
        "   window.readRetryAfter = readRetryAfter;"
        "   window.client = new Feedback({ ingestUrl: location.origin });"
        "   client.addEventListener('change', ({ detail }) => said.push(detail.state)); })"
    )


def test_an_event_says_when_it_is_sent(tab: Tab, ingest: tuple[Ingest, str]):
    tab.evaluate(f"client.thumb({ANSWER}, 'up')")
    wait_until(lambda: ingest[0].events)
    [event] = ingest[0].events
    assert event["occurred_at"] <= event["sent_at"]
    tab.wait_until(f"{STORED} === 0")


def test_events_of_one_moment_are_sent_in_their_order(tab: Tab, ingest: tuple[Ingest, str]):
    comments = [f"No. {number}" for number in range(20)]
    tab.evaluate(f"for (const text of {json.dumps(comments)}) client.comment({ANSWER}, text)")
    tab.wait_until(f"{STORED} === 0")
    assert [event["text"] for event in ingest[0].events] == comments


def test_a_long_edit_is_sent_and_holds_nobody_up(tab: Tab, ingest: tuple[Ingest, str]):
    """Browsers keep no more than 64 KiB alive, and fail what is more."""
    tab.evaluate(f"client.edit({ANSWER}, '€ '.repeat(60_000)); client.thumb({ANSWER}, 'up')")
    tab.wait_until(f"{STORED} === 0")
    assert [event["type"] for event in ingest[0].events] == ["edit", "thumb"]


def test_an_entry_that_is_none_of_ours_is_not_sent_for_ever(tab: Tab, ingest: tuple[Ingest, str]):
    entry = {"event": {"event_id": "another"}, "token": "t"}
    tab.evaluate(f"localStorage['heliotrope.feedback.one'] = JSON.stringify({json.dumps(entry)})")
    tab.evaluate(f"client.thumb({ANSWER}, 'up')")
    tab.wait_until("said.includes('stored')")
    assert [event["type"] for event in ingest[0].events] == ["thumb"]


@pytest.mark.parametrize("status", [401, 422])
def test_a_refusal_that_may_pass_keeps_the_event_and_holds_nobody_up(tab: Tab, ingest: tuple[Ingest, str], status: int):
    ingest[0].answers = [(status, {}), (202, {})]
    tab.evaluate(f"client.thumb({ANSWER}, 'up'); client.comment({ANSWER}, 'Friendly.')")
    tab.wait_until("said.filter((state) => state === 'stored').length === 2")
    kinds = [event["type"] for event in ingest[0].events]
    assert kinds == ["thumb", "comment", "thumb"]
    assert ingest[0].events[0]["event_id"] == ingest[0].events[2]["event_id"]


@pytest.mark.parametrize("status", [401, 422])
def test_a_refusal_for_ever_is_given_up_after_five_tries(tab: Tab, ingest: tuple[Ingest, str], status: int):
    ingest[0].answers = [(status, {})]
    tab.evaluate(f"client.thumb({ANSWER}, 'up')")
    tab.wait_until("said.includes('rejected')")
    assert len(ingest[0].events) == 5
    assert tab.evaluate(STORED) == 0


def test_it_waits_as_long_as_it_is_asked_and_never_in_step_with_others(tab: Tab, ingest: tuple[Ingest, str]):
    ingest[0].answers = [(429, {"retry-after": "2.5"}), (503, {}), (202, {})]
    tab.evaluate(f"client.thumb({ANSWER}, 'up')")
    tab.wait_until("said.includes('stored')")
    asked, unasked = tab.evaluate("pauses")
    assert 2_500 <= asked <= 3_125
    assert 1_000 <= unasked <= 3_000


@pytest.mark.parametrize(
    "text, wait",
    [
        ("'7'", 7_000),
        ("'0.5'", 500),
        ("'Sun, 22 Nov 2026 12:00:30 GMT'", 30_000),
        ("'Sun, 22 Nov 2020 12:00:30 GMT'", 0),
        ("'Fri, 31 Dec 9999 23:59:59 GMT'", 600_000),
        ("'1e999'", 600_000),
        ("'-3'", 0),
        ("'soon'", 0),
        ("null", 0),
    ],
)
def test_every_form_of_retry_after_is_read(tab: Tab, text: str, wait: int):
    assert tab.evaluate(f"readRetryAfter({text}, Date.parse('2026-11-22T12:00:00Z'))") == wait


def test_two_tabs_lose_nothing_and_seldom_send_an_event_twice(chromium: Chromium, tab: Tab, ingest: tuple[Ingest, str]):
    with chromium.open(ingest[1], width=400, height=400) as other:
        open_client(other)
        for number in range(10):
            for one in (tab, other):
                one.evaluate(f"client.comment({ANSWER}, 'No. {number}')")
        tab.wait_until(f"{STORED} === 0")
    assert len({event["event_id"] for event in ingest[0].events}) == 20
    assert len(ingest[0].events) <= 25  # storage reaches the other tab a moment later; ingest counts an id once


def test_a_queue_of_the_release_before_is_taken_over(tab: Tab, ingest: tuple[Ingest, str]):
    event = {"event_id": "0199c2f0-0000-7000-8000-000000000001", "type": "thumb", "value": "up"}
    tab.evaluate(
        f"localStorage['heliotrope.feedback'] = JSON.stringify([{{ event: {json.dumps(event)}, token: 't' }}])"
    )
    open_client(tab)
    tab.wait_until(f"{STORED} === 0")
    assert [sent["event_id"] for sent in ingest[0].events] == [event["event_id"]]
