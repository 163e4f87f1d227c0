"""Composition root: `python -m services.ingest` is one API process."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from redis import Redis
from sqlalchemy.orm import Session

from services.ingest.adapters.lookup import Find, KnownHashes
from services.ingest.adapters.publisher import Publisher
from services.ingest.adapters.shared_rates import SharedRates
from services.ingest.api import Doors, Room, create_router
from services.ingest.bodies import Bodies
from services.ingest.callers import Callers
from services.ingest.domain.assessment import TimeLimits
from services.ingest.domain.rate_limit import RateLimit
from services.ingest.domain.recent import RecentEvents
from services.ingest.handlers import Intake, Limits, Reader
from services.ingest.hot_path import HotPath
from services.ingest.openapi import extend_openapi
from services.ingest.rate_limits import RateLimits
from services.ingest.repository import find_feedback_hashes, find_interaction_hashes
from services.ingest.settings import IngestSettings, SharedSettings
from shared.auth import KeyRing, load_keys
from shared.bus import Producer
from shared.bus.kafka import KafkaBusProducer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.db import SessionFactory, connect, make_session_factory
from shared.feedback_tokens import FeedbackTokens
from shared.http import create_app
from shared.logging import configure_logging
from shared.process import Worker, run_workers, serve, spare_collections
from shared.settings import load_settings

logger = structlog.get_logger(__name__)

SERVICE = "ingest"
PORT = 1


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings, own = load_settings(SharedSettings), load_settings(IngestSettings)
    configure_logging(SERVICE, settings.log_level)
    app = create(settings, own, open_producer(settings, own))
    spare_collections()
    serve(app, settings.bind_host, settings.port or settings.port_base + PORT)


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
    keys = KeyRing(lambda: load_keys(sessions))
    try:
        keys.refresh()
    except Exception as error:
        logger.warning("keys_not_loaded_yet", error=repr(error))
    rate_limits = RateLimits(_make_rate_limit(own), time.monotonic)
    redis = Redis.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=1.0, socket_connect_timeout=1.0, retry=None
    )
    rates = SharedRates(
        redis,
        settings.topic_prefix,
        rate_limits.collect_taken,
        rate_limits.charge,
        turn_seconds=own.rate_limit_turn_seconds,
    )
    feedback_hashes, interaction_hashes = (
        KnownHashes(_ask(sessions, query), deadline_seconds=own.conflict_lookup_seconds)
        for query in (find_feedback_hashes, find_interaction_hashes)
    )
    publisher = Publisher(
        producer,
        deadline_seconds=own.ack_deadline_seconds,
        max_in_flight=own.max_in_flight_events,
        max_in_flight_bytes=own.max_in_flight_bytes,
    )
    secret = settings.user_hash_secret.get_secret_value()
    reader = Reader(_make_limits(own), secret, settings.topic_prefix, now)
    room = Room(
        feedback=Intake(
            "feedback", reader.read_feedback, publisher, feedback_hashes, RecentEvents(own.remembered_events)
        ),
        interactions=Intake(
            "interaction", reader.read_interaction, publisher, interaction_hashes, RecentEvents(own.remembered_events)
        ),
        bodies=Bodies(
            max_bytes=own.max_body_bytes,
            max_arriving_bytes=own.max_arriving_bytes,
            deadline_seconds=own.body_deadline_seconds,
        ),
        callers=Callers(keys, FeedbackTokens(settings.feedback_token_secret.get_secret_value()), now),
        rate_limits=rate_limits,
        sessions=sessions,
        user_hash_secret=secret,
    )

    def close() -> None:
        producer.close(10.0)
        feedback_hashes.close()
        interaction_hashes.close()
        redis.close()
        engine.dispose()

    workers = [Worker("keys", keys.run), Worker("rates", rates.run)]
    return create_http(room, keys, own.cors_origins, run_workers(workers, close))


def create_http(
    room: Room,
    keys: KeyRing,
    cors_origins: Sequence[str] = (),
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """The app around a room. Bodies are bounded where they are read, so the framework bounds none."""
    app = create_app(
        SERVICE,
        checks={"keys": keys.check},
        lifespan=lifespan,
        max_body_bytes=sys.maxsize,
        front=lambda rest: HotPath(SERVICE, Doors(room).by_path(), rest),
    )
    app.state.keys = keys
    app.include_router(create_router(room))
    extend_openapi(app)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-heliotrope-feedback-token"],
            expose_headers=["retry-after", "x-request-id"],
        )
    return app


def _make_rate_limit(own: IngestSettings) -> RateLimit | None:
    if own.key_events_per_second == 0:
        return None
    return RateLimit(own.key_events_per_second, own.key_burst_events)


def _make_limits(own: IngestSettings) -> Limits:
    skew = timedelta(seconds=own.future_skew_seconds)
    oldest = timedelta(days=own.oldest_feedback_days) if own.oldest_feedback_days else None
    return Limits(TimeLimits(skew, None), TimeLimits(skew, oldest), own.max_event_bytes)


def _ask(sessions: SessionFactory, query: Callable[[Session, str, Sequence[UUID]], dict[UUID, str]]) -> Find:
    def find(key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
        with sessions() as session:
            return query(session, key_id, event_ids)

    return find
