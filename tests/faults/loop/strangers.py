"""What strangers do to the loop, from outside: a poison record, a hostile client, a client whose clock is wrong."""

import json
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from shared.bus import Record, encode
from shared.bus.kafka import KafkaBusConsumer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.dead_letters import dead_letter_topic, read_all
from shared.events import TOPICS, Comment, FeedbackReceived, InteractionRecorded
from shared.ids import new_id
from tests.builders import make_feedback, make_id, make_interaction
from tests.faults.loop.victims import ACCEPTED, ANSWERED, CANARY, CHATTING, TRAINING, GoesOn

if TYPE_CHECKING:
    from tests.faults.loop.scene import Scene

HOSTILE_SECONDS = 20.0
CALLERS = 4
HELD = 12
"""Connections of a hostile client that send half a request, and as many that never read their answer."""
GZIP_BOMB = zlib.compress(bytes(64 * 2**20), 9, 31)
FEEDBACK, CHAT = "/v1/feedback", "/v1/chat/completions"
POISON = (
    b"",
    b"\xff\xfe\x00",
    b'{"feedback": {"type": "thumb"',
    b"[" * 5_000 + b"]" * 5_000,
    b'{"metadata": ' + b'{"a": ' * 700 + b'"\\u0000"' + b"}" * 701,
    b'{"interaction_id": "../../etc/passwd", "user": "\\u0000", "messages": [[[]]], "answer": 7, "generation": 1e400}',
    encode(make_interaction(910_001, answer="a\0b"), source="a stranger").value,
    encode(make_interaction(910_002, user="a\0b", rollout_id=make_id(7)), source="a stranger").value,
    encode(make_feedback(910_003, 910_001, Comment(text="a\0b")), source="a stranger").value,
)
"""What nobody can read, and what can be read and not be stored."""
RAW = (InteractionRecorded.topic, FeedbackReceived.topic)


@dataclass(frozen=True)
class Stranger:
    """`process` is the one that has to withstand it; `act` returns once the harm is over."""

    name: str
    process: str
    phase: str
    begins: str
    act: Callable[["Scene"], None]
    goes_on: GoesOn
    proof: str


def put_poison(scene: "Scene") -> None:
    """Write records into every topic that nobody can read, whatever their consumer."""
    connections = scene.stack.connections
    producer = LibrdkafkaBusProducer(connections.kafka_bootstrap_servers, client_id="a-stranger")
    try:
        for topic in TOPICS:
            for content in POISON:
                headers = {"ce_type": f"heliotrope.{topic}", "ce_id": str(new_id())}
                record = Record(connections.topic_prefix + topic, b"poison", content, headers)
                producer.send(record).result(timeout=30)
    finally:
        producer.close(10)


def put_aside(scene: "Scene", since: datetime) -> bool:
    """Whether every poison record lies in the curator's dead letters, once, and new events are curated."""
    if not ACCEPTED(scene, since):
        return False
    connections = scene.stack.connections
    letters = [dead_letter_topic(connections.topic_prefix + topic, "curator") for topic in RAW]
    consumer = KafkaBusConsumer(connections.kafka_bootstrap_servers, letters, None, client_id="a-reader")
    try:
        found = [(letter.topic, letter.value) for letter in read_all(consumer) if letter.key == b"poison"]
    finally:
        consumer.close()
    return sorted(found) == sorted((topic, content) for topic in letters for content in POISON)


def attack(scene: "Scene") -> None:
    """Send what strangers send, while connections are held that send half of a request or never read."""
    deadline = time.monotonic() + HOSTILE_SECONDS
    held = [hold(scene, reads=reads) for _ in range(HELD) for reads in (True, False)]
    callers = [threading.Thread(target=call_until, args=(scene, deadline, number)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for connection in held:
        connection.close()


def hold(scene: "Scene", *, reads: bool) -> socket.socket:
    """Open a connection that waits in the middle of its body, or one that does not read the stream it asks for."""
    service, path = ("ingest", FEEDBACK) if reads else ("gateway", CHAT)
    address = urlsplit(scene.stack.url(service))
    body = json.dumps(make_chat("Tell me everything.", stream=True)).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {scene.stack.credentials['frontend']}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body) + (1_000 if reads else 0)}\r\n\r\n"
    connection = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10)
    connection.sendall(head.encode() + body)
    return connection


def make_chat(content: Any, **more: Any) -> dict[str, Any]:
    return {
        "model": "heliotrope",
        "user": "a stranger",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 5,
        **more,
    }


def make_edit(scene: "Scene") -> dict[str, Any]:
    """An edit of an answer that is not there, which is accepted and waits: the tables will hold it."""
    event = {"event_id": str(new_id()), "type": "edit", "interaction_id": str(new_id()), "text": "g" + ":" * 20_000}
    scene.strangers.clicks[str(event["event_id"])] = event
    return event


def list_attacks(scene: "Scene") -> list[tuple[str, str, dict[str, Any]]]:
    """(service, path, what is sent); among them events that ingest has acknowledged before, word for word."""
    known = random.Random(1).sample(sorted(scene.passers_by.log.clicks.items()), 3)
    return [
        *(("ingest", FEEDBACK, {"json": event}) for _, event in known),
        ("ingest", FEEDBACK, {"content": b"[" * 100_000}),
        ("ingest", FEEDBACK, {"content": GZIP_BOMB, "headers": {"content-encoding": "gzip"}}),
        ("ingest", f"{FEEDBACK}/batch", {"content": b" " * 9 * 2**20}),
        ("ingest", FEEDBACK, {"json": make_edit(scene)}),
        ("ingest", FEEDBACK, {"content": b"\xff\xfe", "headers": {"authorization": "Bearer nobody"}}),
        ("gateway", CHAT, {"json": make_chat("word " * 30_000)}),
        ("gateway", CHAT, {"json": make_chat([{}])}),
        ("gateway", CHAT, {"json": make_chat("1." * 20_000)}),
        ("gateway", CHAT, {"content": b'{"messages": ' + b"[" * 100_000}),
        ("gateway", CHAT, {"json": make_chat("hello", n=10**9)}),
        ("gateway", CHAT, {"json": make_chat("hello", model="../../champion")}),
    ]


def call_until(scene: "Scene", deadline: float, number: int) -> None:
    rng, attacks = random.Random(number), list_attacks(scene)
    authorization = {"authorization": f"Bearer {scene.stack.credentials['frontend']}"}
    with httpx.Client(timeout=30, headers=authorization) as client:
        while time.monotonic() < deadline:
            service, path, sent = rng.choice(attacks)
            try:
                answer = client.post(f"{scene.stack.url(service)}{path}", **sent)
            except httpx.TransportError as error:  # the server may hang up on a body that it does not want
                scene.answers_to_strangers[f"{service} {type(error).__name__}"] += 1
            else:
                late = "" if answer.status_code != 503 or "retry-after" in answer.headers else " without Retry-After"
                scene.answers_to_strangers[f"{service} {answer.status_code}{late}"] += 1
            time.sleep(0.02)


WRONG_CLOCKS = tuple(
    timedelta(minutes=minutes) for minutes in (-5_256_000, -60_000, -90, 2, 90, 1_200, 60_000, 5_256_000)
)
"""Up to ten years behind and ahead."""


def send_at_wrong_times(scene: "Scene") -> None:
    """Comment with clocks that are wrong: accepted events count as acknowledged, as anybody's."""
    answers = list(scene.passers_by.log.served)[-40:]
    url, key = f"{scene.stack.url('ingest')}{FEEDBACK}", scene.stack.credentials["frontend"]
    with httpx.Client(timeout=30, headers={"authorization": f"Bearer {key}"}) as client:
        for answer in answers:
            for wrong in WRONG_CLOCKS:
                clock = datetime.now(UTC) + wrong
                send_comment(
                    scene, client, url, answer, {"occurred_at": clock.isoformat(), "sent_at": clock.isoformat()}
                )
                send_comment(scene, client, url, answer, {"occurred_at": clock.isoformat()})
            for never in ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-23:59"):
                send_comment(scene, client, url, answer, {"occurred_at": never})


def send_comment(scene: "Scene", client: httpx.Client, url: str, answer: str, times: dict[str, str]) -> None:
    event_id = str(new_id())
    event = {"event_id": event_id, "type": "comment", "text": "Thanks.", "interaction_id": answer, "user_id": "late"}
    scene.strangers.clicks[event_id] = event
    try:
        answered = client.post(url, json=event | times)
    except httpx.TransportError as error:  # not acknowledged, whatever came of it
        scene.answers_to_strangers[f"clock {type(error).__name__}"] += 1
        return
    scene.answers_to_strangers[f"clock {answered.status_code}"] += 1
    if answered.status_code == 202:
        scene.strangers.event_ids.append(event_id)


def is_of_our_time(scene: "Scene", since: datetime) -> bool:
    """Whether all that was accepted is curated, and nothing is ahead of its reception or older than users may be."""
    impossible = """
        SELECT count(*) = 0 FROM curator.feedback
        WHERE happened_at > received_at + interval '61 seconds' OR happened_at < '2015-01-01'
    """
    accepted = "SELECT count(*) = %(wanted)s FROM curator.feedback WHERE event_id = ANY(%(ids)s::uuid[])"
    ids = list(scene.strangers.event_ids)
    tables = scene.tables
    return bool(ids) and tables.holds(impossible) and tables.holds(accepted, wanted=len(ids), ids=ids)


STRANGERS = (
    Stranger(
        *("a poison record", "curator", "users chat", CHATTING, put_poison, put_aside),
        "each lies in the dead letters once, a new event is curated",
    ),
    Stranger(
        *("a wrong clock", "ingest", "training", TRAINING, send_at_wrong_times, is_of_our_time),
        "what was accepted is curated, at times that can be",
    ),
    Stranger(
        *("a hostile client", "gateway", "the canary serves", CANARY, attack),
        lambda scene, since: ANSWERED(scene, since) and ACCEPTED(scene, since),
        "a new chat is answered and a new event is curated",
    ),
)
