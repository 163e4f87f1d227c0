"""The demo's front end against services that fail: nothing is said twice under two ids, and nothing is forgotten."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest

from local.demo.apis import Apis, DemoFailed
from local.layout import Layout
from local.simulation.prompts import Question
from local.simulation.users import Shown, SimulatedUser

NOT_NOW = {"retry-after": "0"}


def make_events(count: int) -> list[dict[str, Any]]:
    user = SimulatedUser("customer-007", Random(1))
    question = Question("Where is my {item}?", "delivery", "coffee grinder", "Where is my coffee grinder?")
    return [user.react(question, Shown(f"0190b0f2-7d5e-7000-8000-{n:012d}", "Hm.")).events[0] for n in range(count)]


class Service:
    """Answers with what it was given, in turn, and remembers what it was sent."""

    def __init__(self, *answers: Callable[[list[dict[str, Any]]], httpx.Response]) -> None:
        self._answers: Iterator[Callable[[list[dict[str, Any]]], httpx.Response]] = iter(answers)
        self.heard: list[list[str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        events = body.get("events", [body])
        self.heard.append([event["event_id"] for event in events])
        return next(self._answers)(events)


def drop(_: list[dict[str, Any]]) -> httpx.Response:
    raise httpx.ReadError("connection reset by peer")


def refuse(_: list[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(503, headers=NOT_NOW)


def reject(_: list[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(422, json={"title": "Invalid request"})


def accept(events: list[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(202, json={"event_id": events[0]["event_id"]})


def judge(*outcomes: str) -> Callable[[list[dict[str, Any]]], httpx.Response]:
    def answer(events: list[dict[str, Any]]) -> httpx.Response:
        told = [
            {"outcome": outcome, "event_id": event["event_id"]} for outcome, event in zip(outcomes, events, strict=True)
        ]
        return httpx.Response(200, json={"outcomes": told})

    return answer


def call(service: Service, send: Callable[[Apis], Any]) -> tuple[Any, int]:
    """What the front end returned, and how often it sent something again."""

    async def run() -> tuple[Any, int]:
        apis = Apis(Layout(Path("/nowhere")), {"frontend": "hk_key"}, httpx.MockTransport(service))
        try:
            return await send(apis), apis.sent_again["ingest"]
        finally:
            await apis.close()

    return asyncio.run(run())


def test_an_event_that_was_not_answered_is_sent_again_under_the_same_id():
    [event] = make_events(1)
    service = Service(drop, refuse, accept)
    assert call(service, lambda apis: apis.send_feedback(event)) == (event["event_id"], 2)
    assert service.heard == [[event["event_id"]]] * 3


def test_of_a_batch_only_what_was_not_stored_is_sent_again():
    events = make_events(3)
    ids = [event["event_id"] for event in events]
    service = Service(judge("accepted", "retry", "accepted"), judge("accepted"))
    assert call(service, lambda apis: apis.send_feedback_batch(events)) == (ids, 1)
    assert service.heard == [ids, ids[1:2]]


def test_a_refused_event_is_not_sent_again():
    [event] = make_events(1)
    service = Service(reject, accept)
    with pytest.raises(DemoFailed, match="422"):
        call(service, lambda apis: apis.send_feedback(event))
    assert len(service.heard) == 1


def test_event_ids_are_of_the_clients_making_and_sort_by_time():
    ids = [UUID(event["event_id"]) for event in make_events(5)]
    assert {each.version for each in ids} == {7}
    assert len(set(ids)) == 5
    assert sorted(each.int >> 80 for each in ids) == [each.int >> 80 for each in ids]
