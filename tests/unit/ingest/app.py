"""Builds ingest's app around a bus in memory and a database that is not there."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from services.ingest.adapters.authentication import Authenticator
from services.ingest.adapters.content_hashes import RecentContentHashes, StoredContentHashes
from services.ingest.adapters.publisher import Publisher
from services.ingest.api.endpoints import Endpoints
from services.ingest.bootstrap import create_http
from services.ingest.domain.validation import TimeLimits
from services.ingest.handlers.history import FeedbackHistory
from services.ingest.handlers.submission import Intake, Limits, SubmissionReader
from services.ingest.settings import IngestSettings
from shared.auth import KeyRing
from shared.bus.memory import MemoryBroker, MemoryProducer
from shared.feedback_tokens import FeedbackTokens
from shared.rate_limits import RateLimit, RateLimiter
from shared.request_body import RequestBodyReader
from shared.user_hashes import UserHashes

HASH_SECRET = "a hash secret of tests"


def database_is_away() -> Any:
    raise OperationalError("SELECT", {}, ConnectionError("no server"))


def make_ingest_app(
    keys: KeyRing,
    tokens: FeedbackTokens,
    broker: MemoryBroker,
    *,
    known_hashes: Mapping[UUID, str] | None = None,
    rate_limit: RateLimit | None = None,
    token_limit: RateLimit | None = None,
    max_body_bytes: int = 100_000,
    max_requests: int = 100,
    cors_origins: Sequence[str] = (),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = lambda: 0.0,
) -> FastAPI:
    def find(key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
        return {event_id: known_hashes[event_id] for event_id in event_ids if known_hashes and event_id in known_hashes}

    skew = timedelta(seconds=60)
    limits = Limits(TimeLimits(skew, None), TimeLimits(skew, timedelta(days=30)), max_event_bytes=50_000)
    reader = SubmissionReader(limits, lambda: UserHashes(HASH_SECRET), "", now)
    publisher = Publisher(MemoryProducer(broker), deadline_seconds=5, max_in_flight=2_000, max_in_flight_bytes=10**7)
    stored, recent = StoredContentHashes(find, deadline_seconds=1), RecentContentHashes(100)
    endpoints = Endpoints(
        authenticator=Authenticator(keys, tokens, now),
        rate_limiter=RateLimiter(rate_limit, clock),
        token_limiter=RateLimiter(token_limit, clock, subject="feedback token"),
        body_reader=RequestBodyReader(max_bytes=max_body_bytes, max_arriving_bytes=10**6, deadline_seconds=5),
        feedback=Intake("feedback", reader.read_feedback, publisher, stored, recent),
        interactions=Intake("interaction", reader.read_interaction, publisher, stored, recent),
    )
    own = IngestSettings.model_construct(cors_origins=list(cors_origins), max_requests=max_requests)
    return create_http(endpoints, FeedbackHistory(database_is_away, lambda: UserHashes(HASH_SECRET)), keys, own)
