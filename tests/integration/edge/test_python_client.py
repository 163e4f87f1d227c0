"""The Python client against a running ingest, and from chat to thumb with the official OpenAI client."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from heliotrope_client import (
    AsyncHeliotrope,
    Event,
    Heliotrope,
    Interaction,
    NotStored,
    Rejected,
    choice,
    comment,
    complaint,
    edit,
    rating,
    regenerate,
    retract,
    thumb,
)
from openai import OpenAI

from shared.events import Thumb
from shared.ids import new_id
from tests.integration.edge.conftest import Edge
from tests.integration.gateway.model_server import wait_until

EXAMPLE = Path("clients/python/examples/drop_in.py")


class Obstacle:
    """Stands before ingest and, as told, loses its answers or answers in its place."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.plan: list[int] = []
        """For the next requests: a status to answer with, or 0 to pass the request on and lose the answer."""
        self.seen: list[list[str]] = []

    def take(self, body: bytes) -> int | None:
        content = msgspec.json.decode(body)
        self.seen.append([event["event_id"] for event in content.get("events", [content])])
        return self.plan.pop(0) if self.plan else None


@contextmanager
def obstruct(target: str) -> Iterator[tuple[Obstacle, str]]:
    obstacle = Obstacle(target)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = obstacle.take(body)
            headers = {name: self.headers[name] for name in ("authorization", "content-type")}
            answer = httpx.post(f"{target}{self.path}", content=body, headers=headers) if not status else None
            if status == 0:
                self.close_connection = True
                return
            content = answer.content if answer else b"{}"
            self.send_response(answer.status_code if answer else status or 500)
            self.send_header("retry-after", "0")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield obstacle, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def ids(*events: Event) -> list[UUID]:
    return [event.event_id for event in events]


def make_every_kind() -> list[Event]:
    one, other = new_id(), new_id()
    first = thumb(one, "up", user_id="ada", metadata={"page": "cart"})
    return [
        first,
        rating(one, 4, user_id="ada"),
        choice([one, other], other, user_id="ada"),
        choice([one, other], None, user_id="ben"),
        edit(one, "Send us the number on your receipt."),
        regenerate(one, other),
        complaint(one, "wrong", "It has no bulb."),
        comment(one, "Friendly, but slow."),
        retract(first),
    ]


def test_every_kind_of_event_is_stored_alone_and_in_a_batch(edge: Edge):
    alone, together = make_every_kind(), make_every_kind()
    with Heliotrope(edge.ingest, key=edge.key) as heliotrope:
        for event in alone:
            heliotrope.send(event)
        heliotrope.send(*together)
    stored = {event.event_id: event for event in edge.read_feedback(ids(*alone, *together))}
    for event in (*alone, *together):
        assert stored[event.event_id].feedback.__struct_config__.tag == event.type
    assert stored[alone[0].event_id].feedback == Thumb(value="up")
    assert stored[alone[0].event_id].metadata == {"page": "cart"}


def test_leaving_the_context_sends_what_is_queued(edge: Edge):
    events = [thumb(new_id(), "down") for _ in range(1_005)]
    with Heliotrope(edge.ingest, key=edge.key) as heliotrope:
        for event in events:
            heliotrope.queue(event)
    assert len(edge.read_feedback(ids(*events))) == 1_005


def test_the_async_client_does_the_same(edge: Edge):
    events = make_every_kind()

    async def send() -> None:
        async with AsyncHeliotrope(edge.ingest, key=edge.key) as heliotrope:
            await heliotrope.send(events[0])
            for event in events[1:]:
                await heliotrope.queue(event)

    asyncio.run(send())
    assert len(edge.read_feedback(ids(*events))) == len(events)


def test_what_is_sent_again_has_the_same_id_and_reaches_the_topic(edge: Edge):
    single, pair = thumb(new_id(), "up"), [thumb(new_id(), "up"), thumb(new_id(), "down")]
    with obstruct(edge.ingest) as (obstacle, url), Heliotrope(url, key=edge.key) as heliotrope:
        obstacle.plan = [503, 0, 429]
        heliotrope.send(single)
        assert obstacle.seen == [[str(single.event_id)]] * 4
        obstacle.plan = [0]
        obstacle.seen.clear()
        heliotrope.send(*pair)
        assert obstacle.seen == [[str(event.event_id) for event in pair]] * 2
    stored = edge.read_feedback(ids(single, *pair))
    assert {event.event_id for event in stored} == set(ids(single, *pair))
    assert len(stored) > 3  # the answer was lost, not the event: it is there twice, and counts once


def test_without_an_answer_the_events_stay_with_the_caller_and_can_be_sent_later(edge: Edge):
    events = [thumb(new_id(), "up") for _ in range(3)]
    with obstruct(edge.ingest) as (obstacle, url):
        heliotrope = Heliotrope(url, key=edge.key, retries=1)
        for event in events:
            heliotrope.queue(event)
        obstacle.plan = [503, 503]
        with pytest.raises(NotStored) as raised:
            heliotrope.flush()
        assert raised.value.events == events
        heliotrope.close()
    assert len(edge.read_feedback(ids(*events))) == 3


def test_a_wrong_event_is_named_and_its_neighbours_are_stored(edge: Edge):
    fine, wrong = thumb(new_id(), "up"), rating(new_id(), 9)
    with Heliotrope(edge.ingest, key=edge.key) as heliotrope:
        with pytest.raises(Rejected) as alone:
            heliotrope.send(wrong)
        heliotrope.queue(wrong)
        heliotrope.queue(fine)
        with pytest.raises(Rejected) as together:
            heliotrope.flush()
        heliotrope.flush()  # neither is queued any more
    assert (alone.value.status, alone.value.errors[0]["field"]) == (422, "value")
    assert (together.value.events, together.value.errors[0]["field"]) == ([wrong], "events.0.value")
    assert len(edge.read_feedback([fine.event_id])) == 1


def test_a_key_that_is_not_ours_is_rejected_at_once(edge: Edge):
    with Heliotrope(edge.ingest, key="hk_nobody") as heliotrope, pytest.raises(Rejected) as raised:
        heliotrope.send(thumb(new_id(), "up"))
    assert raised.value.status == 401


def test_a_feedback_token_stands_in_for_a_key(edge: Edge):
    with OpenAI(base_url=f"{edge.gateway}/v1", api_key=edge.key, max_retries=0) as openai:
        chat: Any = openai.chat.completions.create(
            model="heliotrope", user="ada", messages=[{"role": "user", "content": "The lamp flickers."}]
        )
    given = chat.heliotrope
    event = thumb(given["interaction_ids"][0], "up")
    with Heliotrope(edge.ingest, feedback_token=given["feedback_token"]) as heliotrope:
        heliotrope.send(event)
        with pytest.raises(Rejected) as raised:
            heliotrope.send(thumb(new_id(), "up"))
    assert raised.value.status == 403
    assert len(edge.read_feedback([event.event_id])) == 1


def test_the_drop_in_example_goes_from_chat_to_thumb(edge: Edge):

    ran = subprocess.run(
        [sys.executable, EXAMPLE, edge.gateway, edge.ingest, edge.key],
        env={**os.environ, "PYTHONPATH": "clients/python"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip() == "Send us your order number."
    code = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith(('"""', ")"))]
    assert len(code) <= 12


def test_what_a_file_holds_is_sent_by_the_next_process_and_counts_once(edge: Edge, tmp_path: Path):
    events = [thumb(new_id(), "up") for _ in range(3)]
    path = tmp_path / "queue.sqlite"
    with pytest.raises(NotStored), Heliotrope("http://127.0.0.1:9", key=edge.key, retries=0, queue_path=path) as away:
        for event in events:
            away.queue(event)
    with Heliotrope(edge.ingest, key=edge.key, queue_path=path) as heliotrope:
        assert heliotrope.waiting == 3
    stored = edge.read_feedback(ids(*events))
    assert sorted(event.event_id for event in stored) == sorted(ids(*events))


def test_a_thread_sends_what_is_queued_once_ingest_is_back(edge: Edge):
    fine, wrong = thumb(new_id(), "up"), rating(new_id(), 9)
    told: list[Rejected] = []
    with obstruct(edge.ingest) as (obstacle, url):
        obstacle.plan = [503, 503]
        heliotrope = Heliotrope(url, key=edge.key, retries=0, flush_every_seconds=0.05, on_rejected=told.append)
        heliotrope.queue(fine)
        heliotrope.queue(wrong)
        wait_until(lambda: heliotrope.waiting == 0)
        heliotrope.close()
    assert [error.events for error in told] == [[wrong]]
    assert len(edge.read_feedback([fine.event_id])) == 1


def test_a_task_does_the_same_for_a_loop(edge: Edge):
    event = thumb(new_id(), "up")

    async def send() -> None:
        with obstruct(edge.ingest) as (obstacle, url):
            obstacle.plan = [503]
            async with AsyncHeliotrope(url, key=edge.key, retries=0, flush_every_seconds=0.05) as heliotrope:
                await heliotrope.queue(event)
                async with asyncio.timeout(20):
                    while heliotrope.waiting:
                        await asyncio.sleep(0.01)

    asyncio.run(send())
    assert len(edge.read_feedback([event.event_id])) == 1


def test_an_answer_of_another_server_is_stored_under_its_id_and_taken_once(edge: Edge):
    interaction = Interaction([{"role": "user", "content": "Where is it?"}], "On its way.", "gpt", "ada")
    with Heliotrope(edge.ingest, key=edge.key) as heliotrope:
        heliotrope.send(interaction, interaction, thumb(interaction.interaction_id, "up", user_id="ada"))
        with pytest.raises(Rejected) as raised:
            heliotrope.send(replace(interaction, answer="Lost."))
    assert raised.value.status == 409
