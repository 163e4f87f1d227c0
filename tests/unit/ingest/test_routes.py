"""Ingest over ASGI, with the bus in memory and a database that is not there unless a test says so."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import jsonschema
import pytest

from services.ingest.api.endpoints import HotPath
from services.ingest.api.openapi import FEEDBACK_EXAMPLES, INTERACTION_EXAMPLE
from shared.auth import Caller, KeyRing, StoredKey
from shared.bus import decode
from shared.bus.memory import MemoryBroker
from shared.events import FeedbackReceived, InteractionRecorded
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.http import RequestLimiter
from shared.ids import calculate_user_hash, new_id
from shared.rate_limits import RateLimit
from shared.secret_hashes import calculate_secret_hash
from tests.unit.ingest.app import HASH_SECRET, make_ingest_app

ANSWER = UUID("0199c2f0-7a3e-7c54-9d7b-1f2e3a4b5c6d")
OTHER = UUID("0199c2f0-8b4f-7d65-8e8c-2a3b4c5d6e7f")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORIGIN = "https://shop.example"
TOKENS = FeedbackTokens("a token secret of tests")
THUMB = {"type": "thumb", "interaction_id": str(ANSWER), "value": "up"}
KEYS = {role: f"hk_{index:012x}_{role[0] * 43}" for index, role in enumerate(("frontend", "rater", "ops", "admin"))}


class Edge:
    """The app and what it put on the bus."""

    def __init__(
        self,
        known: dict[UUID, str] | None = None,
        max_body_bytes: int = 100_000,
        rate_limit: RateLimit | None = None,
        max_requests: int = 100,
        token_limit: RateLimit | None = None,
    ) -> None:
        self.broker = MemoryBroker()
        self.clock = 1_000.0
        callers = {role: Caller(f"{index:012x}", role, role) for index, role in enumerate(KEYS)}
        stored = {c.key_id: StoredKey(c, calculate_secret_hash(KEYS[role][16:])) for role, c in callers.items()}
        keys = KeyRing(lambda: stored)
        keys.refresh()
        self.app = make_ingest_app(
            keys,
            TOKENS,
            self.broker,
            known_hashes=known,
            rate_limit=rate_limit,
            max_body_bytes=max_body_bytes,
            max_requests=max_requests,
            token_limit=token_limit,
            cors_origins=[ORIGIN],
            now=lambda: NOW,
            clock=lambda: self.clock,
        )

    def call(self, method: str, path: str, *, role: str | None = "frontend", **options: Any) -> httpx.Response:
        headers = options.pop("headers", {})
        if role is not None:
            headers = {"authorization": f"Bearer {KEYS[role]}"} | headers

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(send())

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.call("POST", path, json=body, **options)

    def feedback(self) -> list[FeedbackReceived]:
        events = [decode(record) for record in self.broker.records("feedback.received")]
        return [event for event in events if isinstance(event, FeedbackReceived)]

    def interactions(self) -> list[InteractionRecorded]:
        events = [decode(record) for record in self.broker.records("interaction.recorded")]
        return [event for event in events if isinstance(event, InteractionRecorded)]


@pytest.fixture
def edge() -> Edge:
    return Edge()


def make_token(*interaction_ids: UUID, user: str | None = "0" * 32, lifetime: timedelta = timedelta(hours=1)) -> str:
    return TOKENS.sign(FeedbackToken(interaction_ids, user, "000000000000", NOW + lifetime))


def with_token(text: str) -> dict[str, Any]:
    return {"role": None, "headers": {"x-heliotrope-feedback-token": text}}


@pytest.mark.parametrize("kind", sorted(FEEDBACK_EXAMPLES))
def test_every_type_of_feedback_is_taken_as_documented(edge: Edge, kind: str):
    response = edge.post("/v1/feedback", FEEDBACK_EXAMPLES[kind])
    assert response.status_code == 202, response.text
    [event] = edge.feedback()
    assert response.json() == {"event_id": str(event.event_id), "status": "accepted"}
    assert event.feedback.__struct_config__.tag == kind
    assert event.received_at == NOW


def test_the_user_leaves_the_process_as_a_keyed_hash_only(edge: Edge):
    edge.post("/v1/feedback", THUMB | {"user_id": "ada@example.org"})
    [record] = edge.broker.records("feedback.received")
    assert b"ada@" not in record.value  # three letters of its own may stand in an id
    assert edge.feedback()[0].user == calculate_user_hash("ada@example.org", None, HASH_SECRET)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"value": "sideways"}, "value"),
        ({"value": 1}, "value"),
        ({"type": "applause"}, "type"),
        ({"type": None}, "type"),
        ({"interaction_id": "the last one"}, "interaction_id"),
        ({"occurred_at": "2026-11-22T11:59:00"}, "occurred_at"),
        ({"occurred_at": "2026-11-23T12:02:00Z"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+05:00"}, "occurred_at"),
        ({"occurred_at": "2026-10-01T12:00:00Z"}, "occurred_at"),
        ({"stars": 5}, "stars"),
        ({"type": "rating", "value": 6}, "value"),
        ({"user_id": 7}, "user_id"),
        ({"metadata": {"note": "a\0b"}}, "metadata.note"),
    ],
)
def test_a_wrong_field_is_422_and_named_and_nothing_is_stored(edge: Edge, change: dict[str, Any], field: str):
    response = edge.post("/v1/feedback", THUMB | change)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert edge.feedback() == []


def test_a_body_that_is_not_json_is_400(edge: Edge):
    for path in ("/v1/feedback", "/v1/feedback/batch", "/v1/interactions", "/v1/interactions/batch"):
        response = edge.call("POST", path, content=b"value=up")
        assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")


def test_a_body_or_an_event_that_is_too_large_is_413():
    edge = Edge()
    assert edge.post("/v1/feedback", THUMB | {"metadata": {"note": "x" * 60_000}}).json()["title"] == "Event too large"
    assert edge.post("/v1/feedback", THUMB | {"metadata": {"note": "x" * 120_000}}).status_code == 413
    assert edge.feedback() == []


@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/feedback/batch", "/v1/interactions", "/v1/interactions/batch"])
def test_only_front_ends_may_post(edge: Edge, path: str):
    for role in ("rater", "ops", "admin"):
        assert edge.post(path, THUMB, role=role).status_code == 403
    assert edge.post(path, THUMB, role=None).status_code == 401
    assert edge.post(path, THUMB, headers={"authorization": "Bearer hk_wrong"}).status_code == 401
    assert edge.broker.records("feedback.received") == []


def test_a_retry_with_the_same_id_is_202_and_another_body_is_409(edge: Edge):
    event_id = str(new_id())
    assert edge.post("/v1/feedback", THUMB | {"event_id": event_id}).status_code == 202
    assert edge.post("/v1/feedback", THUMB | {"event_id": event_id}).status_code == 202
    response = edge.post("/v1/feedback", THUMB | {"event_id": event_id, "value": "down"})
    assert (response.status_code, response.json()["event_id"]) == (409, event_id)
    assert {event.feedback.value for event in edge.feedback()} == {"up"}  # type: ignore[union-attr]


def test_an_id_that_the_curator_knows_with_another_body_is_409():
    event_id = new_id()
    edge = Edge(known={event_id: "0" * 64})
    assert edge.post("/v1/feedback", THUMB | {"event_id": str(event_id)}).status_code == 409
    assert edge.post("/v1/feedback", THUMB | {"event_id": str(new_id())}).status_code == 202


def test_a_poisoned_event_harms_no_neighbour_in_a_batch(edge: Edge):
    bad = [THUMB | {"value": "sideways"}, 7, {"type": "thumb"}, THUMB | {"metadata": {"note": "x" * 60_000}}]
    response = edge.post("/v1/feedback/batch", {"events": [THUMB, *bad, THUMB]})
    assert response.status_code == 200
    outcomes = response.json()["outcomes"]
    assert [outcome["outcome"] for outcome in outcomes] == ["accepted", *["rejected"] * 4, "accepted"]
    assert outcomes[1]["problem"]["status"] == 422
    assert outcomes[1]["problem"]["errors"][0]["field"] == "events.1.value"
    assert outcomes[3]["problem"]["errors"][0]["field"] == "events.3.interaction_id"
    assert outcomes[4]["problem"]["status"] == 413
    assert {str(event.event_id) for event in edge.feedback()} == {outcomes[0]["event_id"], outcomes[5]["event_id"]}


def test_one_id_with_two_bodies_in_a_batch_is_stored_once(edge: Edge):
    event_id = str(new_id())
    events = [THUMB | {"event_id": event_id}, THUMB | {"event_id": event_id, "value": "down"}]
    outcomes = edge.post("/v1/feedback/batch", {"events": events}).json()["outcomes"]
    assert [outcome["outcome"] for outcome in outcomes] == ["accepted", "rejected"]
    assert outcomes[1]["problem"]["status"] == 409


def test_a_batch_holds_at_most_a_thousand_events(edge: Edge):
    response = edge.post("/v1/feedback/batch", {"events": [1] * 1_001})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "events")


def test_an_interaction_is_recorded_with_its_user_or_else_its_conversation_hashed(edge: Edge):
    interaction = INTERACTION_EXAMPLE | {"served_at": "2019-01-01T00:00:00Z"}
    anonymous = {name: value for name, value in interaction.items() if name != "user_id"}
    assert edge.post("/v1/interactions", interaction).status_code == 202
    response = edge.post("/v1/interactions", anonymous | {"interaction_id": str(ANSWER)})
    assert response.json() == {"event_id": str(ANSWER), "interaction_id": str(ANSWER), "status": "accepted"}
    assert {event.user for event in edge.interactions()} == {
        calculate_user_hash("ada", None, HASH_SECRET),
        calculate_user_hash(None, "c-1042", HASH_SECRET),
    }


def test_a_conversation_named_in_the_metadata_leaves_the_process_as_a_keyed_hash_only(edge: Edge):
    named = {"metadata": {"conversation_id": "talk-77", "page": "/cart"}}
    anonymous = {
        name: value for name, value in INTERACTION_EXAMPLE.items() if name not in ("user_id", "conversation_id")
    }
    assert edge.post("/v1/interactions", anonymous | named).status_code == 202
    assert edge.post("/v1/feedback", THUMB | named).status_code == 202
    records = [*edge.broker.records("interaction.recorded"), *edge.broker.records("feedback.received")]
    assert len(records) == 2
    assert not any(b"talk-77" in record.value for record in records)
    (event,) = edge.interactions()
    assert event.user == event.conversation_id == calculate_user_hash(None, "talk-77", HASH_SECRET)
    assert event.metadata == edge.feedback()[0].metadata == {"page": "/cart"}


def test_attachments_leave_the_process_as_hashes_and_so_fit_on_the_bus(edge: Edge):
    image = "data:image/png;base64," + "A" * 60_000
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": image}}]
    for content in (parts, f"What is ![it]({image})?"):
        asked = {"messages": [{"role": "user", "content": content}]}
        assert edge.post("/v1/interactions", INTERACTION_EXAMPLE | asked).status_code == 202
    assert not any(b"AAAA" in record.value for record in edge.broker.records("interaction.recorded"))


def test_an_interaction_from_the_future_or_without_roles_is_422(edge: Edge):
    wrong = INTERACTION_EXAMPLE | {"served_at": "2026-11-23T00:00:00Z", "messages": [{"content": "hello"}]}
    errors = edge.post("/v1/interactions", wrong).json()["errors"]
    assert [error["field"] for error in errors] == ["messages.0.role", "served_at"]


def test_a_feedback_token_speaks_for_its_user_on_its_answers_only(edge: Edge):
    text = make_token(ANSWER, OTHER, user="f" * 32)
    assert edge.post("/v1/feedback", THUMB | {"user_id": "mallory"}, **with_token(text)).status_code == 202
    [event] = edge.feedback()
    assert (event.user, event.key_id) == ("f" * 32, "000000000000")
    bearer = {"authorization": f"Bearer {text}"}
    assert edge.post("/v1/feedback", FEEDBACK_EXAMPLES["choice"], role=None, headers=bearer).status_code == 202
    assert edge.post("/v1/feedback", THUMB | {"interaction_id": str(new_id())}, **with_token(text)).status_code == 403
    alone = with_token(make_token(ANSWER))
    assert edge.post("/v1/feedback", FEEDBACK_EXAMPLES["choice"], **alone).status_code == 403


def test_a_token_that_is_forged_or_expired_or_used_elsewhere_is_401(edge: Edge):
    forged = FeedbackTokens("another secret").sign(FeedbackToken((ANSWER,), None, "x", NOW + timedelta(days=1)))
    expired = make_token(ANSWER, lifetime=timedelta(seconds=-1))
    for text in (forged, expired, "nonsense", make_token(ANSWER)[:-2]):
        assert edge.post("/v1/feedback", THUMB, **with_token(text)).status_code == 401
    assert edge.post("/v1/interactions", INTERACTION_EXAMPLE, **with_token(make_token(ANSWER))).status_code == 401
    assert (edge.feedback(), edge.interactions()) == ([], [])


def test_reading_is_503_without_a_database_and_taking_goes_on(edge: Edge):
    assert edge.call("GET", "/v1/feedback", params={"interaction_id": str(ANSWER)}).status_code == 503
    assert edge.call("GET", "/v1/feedback", params={"interaction_id": "the last"}).status_code == 422
    assert edge.post("/v1/feedback", THUMB).status_code == 202


def test_the_openapi_document_describes_bodies_that_are_really_taken(edge: Edge):
    document = edge.app.openapi()
    body = document["paths"]["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]
    schema = body["schema"] | {"components": document["components"]}
    for example in body["examples"].values():
        jsonschema.validate(example["value"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(THUMB | {"value": "sideways"}, schema)
    assert "#/components/schemas/Problem" in json.dumps(document["paths"])
    assert set(document["paths"]["/v1/feedback"]["post"]["responses"]) == {
        *("202", "400", "401", "403", "408", "409", "413", "415", "422", "429", "503")
    }


BROWSER = {"origin": ORIGIN}


@pytest.mark.parametrize("body", [THUMB, THUMB | {"value": "sideways"}, [1], {"type": "thumb"}])
def test_a_browser_and_a_front_end_get_the_same_answer_on_their_two_ways(edge: Edge, body: Any):
    direct = edge.post("/v1/feedback", body)
    browser = edge.post("/v1/feedback", body, headers=BROWSER)
    assert browser.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in direct.headers
    answers = [answer.json() for answer in (direct, browser)]
    for answer in answers:
        answer.pop("event_id", None)
    assert direct.status_code == browser.status_code
    assert answers[0] == answers[1]
    for header in ("content-type", "content-length"):
        assert direct.headers[header] == browser.headers[header]
    assert UUID(direct.headers["x-request-id"]) != UUID(browser.headers["x-request-id"])


@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_a_key_above_its_rate_is_429_with_the_time_to_wait(headers: dict[str, str]):
    edge = Edge(rate_limit=RateLimit(events_per_second=0.5, burst=3))
    batch = {"events": [THUMB, THUMB]}
    assert edge.post("/v1/feedback/batch", batch, headers=headers).status_code == 200
    refused = edge.post("/v1/feedback/batch", batch, headers=headers)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert edge.post("/v1/feedback", THUMB, headers=headers).status_code == 202
    assert edge.post("/v1/feedback", THUMB, headers=headers).status_code == 429
    edge.clock += 2
    assert edge.post("/v1/feedback", THUMB, headers=headers).status_code == 202
    assert len(edge.feedback()) == 4


@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_requests_above_the_limit_are_503_with_the_time_to_wait(headers: dict[str, str]):
    edge = Edge(max_requests=0)
    refused = edge.post("/v1/feedback", THUMB, headers=headers)
    assert (refused.status_code, refused.json()["title"]) == (503, "Too many requests at once")
    assert refused.headers["retry-after"] == "2"
    assert ("access-control-allow-origin" in refused.headers) == bool(headers)
    assert edge.call("GET", "/healthz").status_code == 200


def test_a_browser_may_read_errors_too(edge: Edge):
    for path, body in (("/v1/feedback", [1]), ("/v1/nothing", THUMB)):
        response = edge.post(path, body, headers=BROWSER)
        assert response.status_code >= 400
        assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_a_compressed_body_is_taken(edge: Edge, headers: dict[str, str]):
    content = gzip.compress(json.dumps(THUMB).encode())
    response = edge.call("POST", "/v1/feedback", content=content, headers=headers | {"content-encoding": "gzip"})
    assert response.status_code == 202
    response = edge.call("POST", "/v1/feedback", content=content, headers=headers | {"content-encoding": "br"})
    assert (response.status_code, response.json()["title"]) == (415, "Unsupported content encoding")


def test_an_unexpected_error_on_the_hot_path_is_a_problem_that_says_nothing_of_it():
    async def fail(headers: Any, receive: Any) -> Any:
        raise RuntimeError("the secret is 42")

    async def nowhere(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not on the hot path")

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(HotPath("ingest", {"/v1/feedback": fail}, nowhere, RequestLimiter(1)))
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            return await client.post("/v1/feedback", json=THUMB)

    response = asyncio.run(send())
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert "secret is" not in response.text
