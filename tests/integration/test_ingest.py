"""Ingest with a real Postgres and a real broker: what is acknowledged is on the topic."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from services.ingest.bootstrap import create, open_producer
from services.ingest.settings import IngestSettings, SharedSettings
from shared.auth import create_key
from shared.bus import Record, decode
from shared.bus.kafka import KafkaBusConsumer, create_topics
from shared.conversation import calculate_prompt_hash
from shared.events import FeedbackReceived, InteractionRecorded, Thumb
from shared.feedback import calculate_content_hash, scope_id
from shared.ids import calculate_conversation_hash, new_id
from shared.tables import curator
from tests.builders import make_feedback

ORIGIN = "https://shop.example"
MESSAGES = [{"role": "user", "content": "The lamp flickers."}]


class RunningIngest:
    def __init__(
        self,
        client: TestClient,
        sessions: sessionmaker[Session],
        keys: dict[str, str],
        bootstrap: str,
        prefix: str,
    ) -> None:
        self.client, self.sessions, self.keys, self.bootstrap, self.prefix = client, sessions, keys, bootstrap, prefix

    def headers(self, role: str = "frontend") -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[role]}"}

    def post(self, path: str, body: Any, role: str = "frontend") -> Any:
        return self.client.post(path, json=body, headers=self.headers(role))

    def heard(self, topic: str, count: int) -> list[Any]:
        """Everything on a topic, once `count` records are there and no more come."""
        consumer = KafkaBusConsumer(self.bootstrap, [self.prefix + topic], None, client_id="test")
        events: list[Any] = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            records = consumer.poll(0.5)
            events += [decode(record) for record in records]
            if len(events) >= count and not records:
                break
        consumer.close()
        return events


@pytest.fixture
def ingest(database_url: str, kafka_bootstrap: str, topic_prefix: str) -> Iterator[RunningIngest]:
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix)
    settings = SharedSettings(
        database_url=database_url,
        kafka_bootstrap_servers=kafka_bootstrap,
        topic_prefix=topic_prefix,
        user_hash_secret="a hash secret of tests",
        feedback_token_secret="a token secret of tests",
    )
    engine = create_engine(database_url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    with sessions() as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("frontend", "ops")}
    own = IngestSettings(cors_origins=[ORIGIN], conflict_lookup_seconds=5)
    app = create(settings, own, open_producer(settings, own))
    with TestClient(app) as client:
        yield RunningIngest(client, sessions, keys, kafka_bootstrap, topic_prefix)
    engine.dispose()


def thumb(interaction_id: UUID, **fields: Any) -> dict[str, Any]:
    return {"type": "thumb", "interaction_id": str(interaction_id), "value": "up"} | fields


def test_an_acknowledged_event_is_on_the_topic_and_a_refused_one_is_not(ingest: RunningIngest):
    interaction_id = new_id()
    accepted = ingest.post("/v1/feedback", thumb(interaction_id, user_id="ada"))
    refused = ingest.post("/v1/feedback", thumb(interaction_id, value="sideways"))
    forbidden = ingest.post("/v1/feedback", thumb(interaction_id), role="ops")
    assert (accepted.status_code, refused.status_code, forbidden.status_code) == (202, 422, 403)
    [event] = ingest.heard(FeedbackReceived.topic, 1)
    assert str(event.event_id) == accepted.json()["event_id"]
    assert event.feedback == Thumb(value="up")


def test_a_thousand_events_in_a_batch_are_all_stored(ingest: RunningIngest):
    interaction_id = new_id()
    response = ingest.post(
        "/v1/feedback/batch", {"events": [thumb(interaction_id)] * 999 + [thumb(interaction_id, x=1)]}
    )
    outcomes = response.json()["outcomes"]
    assert [outcome["outcome"] for outcome in outcomes] == ["accepted"] * 999 + ["rejected"]
    heard = {str(event.event_id) for event in ingest.heard(FeedbackReceived.topic, 999)}
    assert heard == {outcome["event_id"] for outcome in outcomes[:999]}


def test_an_interaction_served_elsewhere_is_recorded(ingest: RunningIngest):
    body = {
        "messages": MESSAGES,
        "answer": "Send us your order number.",
        "model_version": "1",
        "served_at": "2025-01-01T00:00:00Z",
        "conversation_id": "c-1042",
    }
    response = ingest.post("/v1/interactions", body)
    [event] = ingest.heard(InteractionRecorded.topic, 1)
    assert response.json()["interaction_id"] == str(event.interaction_id)
    assert (event.messages, event.answer) == (MESSAGES, body["answer"])
    assert event.user == event.conversation_id == calculate_conversation_hash("c-1042", "a hash secret of tests")


def key_id(ingest: RunningIngest) -> str:
    return ingest.keys["frontend"].split("_")[1]


def store(ingest: RunningIngest, interaction_id: UUID, *events: FeedbackReceived) -> None:
    """As the curator would."""
    prompt_hash = calculate_prompt_hash(MESSAGES)
    now = datetime.now(UTC)
    with ingest.sessions() as session, session.begin():
        session.add(curator.Cell(cell="cell", split="train"))
        session.flush()
        session.add(curator.Prompt(prompt_hash=prompt_hash, messages=MESSAGES, cell="cell", split="train"))
        session.flush()
        session.add(
            curator.Interaction(
                interaction_id=interaction_id,
                key_id=key_id(ingest),
                prompt_hash=prompt_hash,
                answer="Send us your order number.",
                model_version="1",
                served_at=now,
                content_hash="0" * 64,
                event={},
            )
        )
        for event in events:
            session.add(
                curator.Feedback(
                    event_id=event.event_id,
                    key_id=event.key_id,
                    interaction_id=interaction_id,
                    type=str(event.feedback.__struct_config__.tag),
                    user=event.user,
                    happened_at=event.received_at,
                    received_at=event.received_at,
                    content_hash=calculate_content_hash(event),
                    state="attached",
                    event=msgspec.to_builtins(event),
                )
            )


def hear(ingest: RunningIngest, interaction_id: UUID, **fields: Any) -> FeedbackReceived:
    common: dict[str, Any] = {"received_at": datetime.now(UTC), "key_id": key_id(ingest)}
    return make_feedback(fields.pop("event_id", new_id()), interaction_id, Thumb(value="up"), **common | fields)


def test_a_caller_reads_what_it_has_said(ingest: RunningIngest):
    interaction_id = new_id()
    ours, foreign = hear(ingest, interaction_id), hear(ingest, interaction_id, key_id="ffffffffffff")
    store(ingest, interaction_id, ours, foreign)
    response = ingest.client.get(
        "/v1/feedback", params={"interaction_id": str(interaction_id)}, headers=ingest.headers()
    )
    assert response.status_code == 200
    [said] = response.json()["events"]
    assert (said["event_id"], said["type"], said["value"]) == (str(ours.event_id), "thumb", "up")
    by_user = {"interaction_id": str(interaction_id), "user_id": "ada"}
    assert ingest.client.get("/v1/feedback", params=by_user, headers=ingest.headers()).json()["events"] == []


def test_an_unknown_interaction_is_404_to_read_and_202_to_speak_of(ingest: RunningIngest):
    interaction_id = new_id()
    response = ingest.client.get(
        "/v1/feedback", params={"interaction_id": str(interaction_id)}, headers=ingest.headers()
    )
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert ingest.post("/v1/feedback", thumb(interaction_id)).status_code == 202


def test_an_id_that_the_curator_has_with_another_body_is_409(ingest: RunningIngest):
    interaction_id = new_id()
    known = hear(ingest, interaction_id)
    store(ingest, interaction_id, known)
    assert ingest.post("/v1/feedback", thumb(interaction_id, event_id=str(known.event_id))).status_code == 202
    other = thumb(interaction_id, event_id=str(known.event_id), metadata={"page": "cart"})
    store_hash = ingest.post("/v1/feedback", other)
    assert (store_hash.status_code, store_hash.json()["event_id"]) == (409, str(known.event_id))


def test_a_retry_of_what_was_redacted_is_no_conflict_and_another_keys_id_none_either(ingest: RunningIngest):
    interaction_id = new_id()
    redacted, moved = hear(ingest, interaction_id), hear(ingest, interaction_id)
    store(ingest, interaction_id, redacted, moved)
    with ingest.sessions() as session, session.begin():
        session.get_one(curator.Feedback, redacted.event_id).redacted = True
        session.get_one(curator.Feedback, moved.event_id).event_id = scope_id(moved.event_id, moved.key_id)
    for known, status in ((redacted, 202), (moved, 409)):
        other = thumb(interaction_id, event_id=str(known.event_id), metadata={"page": "cart"})
        assert ingest.post("/v1/feedback", other).status_code == status
    response = ingest.client.get(
        "/v1/feedback", params={"interaction_id": str(interaction_id)}, headers=ingest.headers()
    )
    assert {said["event_id"] for said in response.json()["events"]} == {str(redacted.event_id), str(moved.event_id)}


def test_only_listed_origins_may_call_from_a_browser(ingest: RunningIngest):
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-heliotrope-feedback-token"}
    allowed = ingest.client.options("/v1/feedback", headers={"origin": ORIGIN} | asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert ingest.client.options("/v1/feedback", headers={"origin": "https://evil.example"} | asked).status_code == 400


def test_health_and_metrics_answer(ingest: RunningIngest):
    ingest.post("/v1/feedback", thumb(new_id()))
    assert ingest.client.get("/readyz").json() == {"ready": True, "checks": {"keys": "ok", "broker": "ok"}}
    assert (
        'heliotrope_ingest_events_total{kind="feedback",outcome="accepted",type="thumb"}'
        in ingest.client.get("/metrics").text
    )


def test_a_broker_that_is_away_makes_503_with_the_id_to_retry_with(database_url: str):
    class AwayProducer:
        def send(self, record: Record) -> "Future[None]":
            return Future()

        def deliver(self, records: Any, settle: Any) -> None:
            """Settles none."""

        def close(self, timeout_seconds: float) -> None:
            """Nothing to close."""

    settings = SharedSettings(
        database_url=database_url,
        user_hash_secret="a hash secret of tests",
        feedback_token_secret="a token secret of tests",
    )
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        key = create_key(session, "frontend", "frontend")
    engine.dispose()
    app = create(settings, IngestSettings(ack_deadline_seconds=0.2), AwayProducer())
    with TestClient(app) as client:
        started = time.monotonic()
        response = client.post("/v1/feedback", json=thumb(new_id()), headers={"authorization": f"Bearer {key}"})
        assert time.monotonic() - started < 0.9
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert UUID(response.json()["event_id"])
