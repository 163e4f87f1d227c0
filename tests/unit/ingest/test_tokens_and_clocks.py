"""Feedback tokens with a budget and a key behind them; clients whose clocks are wrong."""

from datetime import timedelta
from typing import Any

import pytest

from services.ingest.metrics import CLOCKS_CORRECTED
from shared.feedback import calculate_content_hash, effective_time
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.ids import new_id
from shared.rate_limits import RateLimit
from tests.unit.ingest.test_routes import ANSWER, BROWSER, KEYS, NOW, THUMB, TOKENS, Edge, with_token

FRONTEND = KEYS["frontend"].split("_")[1]


def make_token(tokens: FeedbackTokens = TOKENS, key_id: str = FRONTEND, user: str = "f" * 32) -> dict[str, Any]:
    return with_token(tokens.sign(FeedbackToken((ANSWER,), user, key_id, NOW + timedelta(hours=1))))


def test_a_token_spends_its_own_budget_and_not_its_keys():
    edge = Edge(rate_limit=RateLimit(1, 5), token_limit=RateLimit(0.5, 2))
    mallory, ada = make_token(), make_token(user="a" * 32)
    statuses = [edge.post("/v1/feedback", THUMB, **mallory).status_code for _ in range(4)]
    assert statuses == [202, 202, 429, 429]
    assert edge.post("/v1/feedback", THUMB, **ada).status_code == 202
    assert [edge.post("/v1/feedback", THUMB).status_code for _ in range(5)] == [202] * 5


@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_a_token_posts_no_batches(headers: dict[str, str]):
    edge, token = Edge(), make_token()
    token["headers"] |= headers
    assert edge.post("/v1/feedback/batch", {"events": [THUMB]}, **token).status_code == 401
    assert edge.feedback() == []


def test_a_token_dies_with_its_key():
    edge = Edge()
    assert edge.post("/v1/feedback", THUMB, **make_token(key_id="0" * 11 + "f")).status_code == 401
    assert edge.post("/v1/feedback", THUMB, **make_token()).status_code == 202


def test_tokens_of_the_secret_before_open_until_they_expire():
    old, new = FeedbackTokens("the old secret"), FeedbackTokens("the new secret", ["the old secret"])
    token = FeedbackToken((ANSWER,), None, FRONTEND, NOW + timedelta(hours=1))
    assert new.open(old.sign(token), NOW) == token
    assert FeedbackTokens("the new secret").open(new.sign(token), NOW) == token


def test_a_clock_two_hours_ahead_loses_no_feedback():
    edge = Edge()
    ahead = {"occurred_at": "2026-11-22T13:59:00Z", "sent_at": "2026-11-22T14:00:00Z"}
    corrected = CLOCKS_CORRECTED._value.get()
    assert edge.post("/v1/feedback", THUMB | ahead).status_code == 202
    [event] = edge.feedback()
    assert effective_time(event) == NOW - timedelta(minutes=1)
    assert CLOCKS_CORRECTED._value.get() == corrected + 1


def test_a_time_ahead_without_sent_at_counts_at_its_reception():
    edge = Edge()
    assert edge.post("/v1/feedback", THUMB | {"occurred_at": "2026-11-22T20:00:00Z"}).status_code == 202
    [event] = edge.feedback()
    assert effective_time(event) == NOW


def test_a_retry_that_is_sent_later_is_the_same_event():
    edge, event_id = Edge(), str(new_id())
    first = THUMB | {"event_id": event_id, "occurred_at": "2026-11-22T13:59:00Z", "sent_at": "2026-11-22T14:00:00Z"}
    assert edge.post("/v1/feedback", first).status_code == 202
    assert edge.post("/v1/feedback", first | {"sent_at": "2026-11-22T14:00:07Z"}).status_code == 202
    assert len({calculate_content_hash(event) for event in edge.feedback()}) == 1


def test_metadata_nested_deep_with_a_nul_is_400_and_no_error_of_ours():
    edge, nested = Edge(), '{"a":' * 700 + '"\\u0000"' + "}" * 700
    body = f'{{"type": "thumb", "interaction_id": "{ANSWER}", "value": "up", "metadata": {nested}}}'
    assert edge.call("POST", "/v1/feedback", content=body.encode()).status_code == 400
    outcomes = edge.call("POST", "/v1/feedback/batch", content=f'{{"events": [{body}]}}'.encode())
    assert outcomes.status_code in (200, 400)
    assert edge.feedback() == []
