"""Composition root: `python -m services.ingest` is one API process."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from fastapi import FastAPI
from redis import Redis
from sqlalchemy.orm import Session

from services.ingest.adapters.authentication import Authenticator
from services.ingest.adapters.content_hashes import FindHashes, RecentContentHashes, StoredContentHashes
from services.ingest.adapters.publisher import Publisher
from services.ingest.adapters.rate_limit_sync import RateLimitSync
from services.ingest.adapters.topic_limits import TopicLimits
from services.ingest.api.endpoints import Endpoints, HotPath
from services.ingest.api.openapi import extend_openapi
from services.ingest.api.routes import create_router
from services.ingest.api.traces import create_trace_router
from services.ingest.domain.validation import TimeLimits
from services.ingest.handlers.history import FeedbackHistory
from services.ingest.handlers.submission import Intake, Limits, SubmissionReader
from services.ingest.metrics import RATE_LIMITED
from services.ingest.repository import find_feedback_hashes, find_interaction_hashes
from services.ingest.settings import IngestSettings, SharedSettings
from shared.auth import KeyRing, open_key_ring
from shared.bus import Producer
from shared.bus.admin import Admin
from shared.bus.kafka import KafkaBusProducer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.limits import find_size_limits, open_admin
from shared.db import SessionFactory, connect, make_session_factory
from shared.events import FeedbackReceived, InteractionRecorded
from shared.feedback_tokens import FeedbackTokens
from shared.http import Check, Cors, FirstContact, RequestLimiter, create_app
from shared.logging import configure_logging
from shared.process import Worker, every, run_workers, serve, spare_collections
from shared.rate_limits import RateLimit, RateLimiter
from shared.request_body import RequestBodyReader
from shared.settings import load_settings
from shared.user_hash_generations import UserHashesInForce, configure_user_hashes

SERVICE = "ingest"
TOPIC_LIMITS_SECONDS = 30.0
REACH_SECONDS = 2.0


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings, own = load_settings(SharedSettings), load_settings(IngestSettings)
    configure_logging(SERVICE, settings.log_level)
    app = create(settings, own, open_producer(settings, own))
    spare_collections()
    serve(app, settings, settings.choose_port(SERVICE))


def open_producer(settings: SharedSettings, own: IngestSettings) -> Producer:
    adapter: type[LibrdkafkaBusProducer | KafkaBusProducer] = LibrdkafkaBusProducer
    if own.bus_client == "kafka-python":
        adapter = KafkaBusProducer
    return adapter(
        settings.kafka_bootstrap_servers,
        client_id=SERVICE,
        deadline_seconds=own.ack_deadline_seconds,
        security=settings.kafka_security,
    )


def create(settings: SharedSettings, own: IngestSettings, producer: Producer) -> FastAPI:
    engine = connect(settings)
    sessions = make_session_factory(engine)
    user_hashes = UserHashesInForce(configure_user_hashes(settings), sessions)
    keys = open_key_ring(sessions, settings.assertion_public_keys, user_hashes)
    rate_limiter = RateLimiter(
        _make_rate_limit(own.key_events_per_second, own.key_burst_events),
        time.monotonic,
        count_refused=RATE_LIMITED.inc,
    )
    redis = Redis.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=1.0, socket_connect_timeout=1.0, retry=None
    )
    limit_sync = RateLimitSync(redis, settings.topic_prefix, rate_limiter, interval_seconds=own.rate_limit_turn_seconds)
    feedback_hashes, interaction_hashes = (
        StoredContentHashes(_query(sessions, query), deadline_seconds=own.conflict_lookup_seconds)
        for query in (find_feedback_hashes, find_interaction_hashes)
    )
    publisher = Publisher(
        producer,
        deadline_seconds=own.ack_deadline_seconds,
        max_in_flight=own.max_in_flight_events,
        max_in_flight_bytes=own.max_in_flight_bytes,
    )
    admin = open_admin(settings.kafka_bootstrap_servers, settings.kafka_security)
    topic_limits = _make_topic_limits(admin, settings.topic_prefix)
    reader = SubmissionReader(_make_limits(own), user_hashes, settings.topic_prefix, now, topic_limits)
    recent_feedback, recent_interactions = (RecentContentHashes(own.remembered_events) for _ in range(2))
    endpoints = Endpoints(
        authenticator=Authenticator(keys, _make_tokens(settings), now),
        rate_limiter=rate_limiter,
        token_limiter=RateLimiter(
            _make_rate_limit(own.token_events_per_second, own.token_burst_events),
            time.monotonic,
            subject="feedback token",
            count_refused=RATE_LIMITED.inc,
        ),
        body_reader=RequestBodyReader(
            max_bytes=own.max_body_bytes,
            max_arriving_bytes=own.max_arriving_bytes,
            deadline_seconds=own.body_deadline_seconds,
        ),
        feedback=Intake("feedback", reader.read_feedback, publisher, feedback_hashes, recent_feedback),
        interactions=Intake("interaction", reader.read_interaction, publisher, interaction_hashes, recent_interactions),
    )

    def close() -> None:
        producer.close(10.0)
        feedback_hashes.close()
        interaction_hashes.close()
        redis.close()
        engine.dispose()

    workers = [
        Worker("keys", keys.run),
        Worker("rates", limit_sync.run),
        every(TOPIC_LIMITS_SECONDS, "topic-limits", topic_limits.refresh),
    ]
    history = FeedbackHistory(sessions, user_hashes)

    def reach_broker() -> None:
        admin.reach(REACH_SECONDS)  # a login that is refused is no contact

    return create_http(endpoints, history, keys, own, run_workers(workers, close), reach_broker)


def create_http(
    endpoints: Endpoints,
    history: FeedbackHistory,
    keys: KeyRing,
    own: IngestSettings,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    reach_broker: Check = lambda: None,
) -> FastAPI:
    """Create the app around its endpoints. They bound the bodies that they read, so the framework bounds none."""
    limiter = RequestLimiter(own.max_requests)
    app = create_app(
        SERVICE,
        checks={"keys": keys.check, "broker": FirstContact(reach_broker)},
        outages={"broker": reach_broker},
        lifespan=lifespan,
        max_body_bytes=sys.maxsize,
        front=lambda rest: HotPath(SERVICE, endpoints.by_path(), rest, limiter),
        cors=Cors(own.cors_origins, ["authorization", "content-type", "x-heliotrope-feedback-token"]),
        limiter=limiter,
        body_deadline_seconds=own.body_deadline_seconds,
        decodes_bodies=True,
    )
    app.state.keys = keys
    app.include_router(create_router(endpoints, history))
    app.include_router(create_trace_router(endpoints))
    extend_openapi(app)
    return app


def _make_topic_limits(admin: Admin, topic_prefix: str) -> TopicLimits:
    def ask(topics: Sequence[str]) -> Mapping[str, int]:
        admin.reach(REACH_SECONDS)  # says why nobody answers
        return find_size_limits(admin, topics)

    return TopicLimits([topic_prefix + event.topic for event in (FeedbackReceived, InteractionRecorded)], ask)


def _make_tokens(settings: SharedSettings) -> FeedbackTokens:
    previous = [secret.get_secret_value() for secret in settings.feedback_token_previous_secrets]
    return FeedbackTokens(settings.feedback_token_secret.get_secret_value(), previous)


def _make_rate_limit(events_per_second: float, burst: int) -> RateLimit | None:
    return RateLimit(events_per_second, burst) if events_per_second else None


def _make_limits(own: IngestSettings) -> Limits:
    skew = timedelta(seconds=own.future_skew_seconds)
    oldest = timedelta(days=own.oldest_feedback_days) if own.oldest_feedback_days else None
    return Limits(TimeLimits(skew, None), TimeLimits(skew, oldest), own.max_event_bytes)


def _query(sessions: SessionFactory, query: Callable[[Session, str, Sequence[UUID]], dict[UUID, str]]) -> FindHashes:
    def find(key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
        with sessions() as session:
            return query(session, key_id, event_ids)

    return find
