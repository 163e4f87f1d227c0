"""Composition root: `python -m services.ingest` is one API process."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from sqlalchemy.orm import Session

from services.ingest.adapters.lookup import Find, KnownHashes
from services.ingest.adapters.publisher import Publisher
from services.ingest.api import Room, create_router
from services.ingest.domain.assessment import TimeLimits
from services.ingest.domain.recent import RecentEvents
from services.ingest.handlers import Intake, Limits, Reader
from services.ingest.openapi import extend_openapi
from services.ingest.repository import find_feedback_hashes, find_interaction_hashes
from services.ingest.settings import IngestSettings, SharedSettings
from shared.auth import KeyRing, load_keys
from shared.bus import Producer
from shared.bus.kafka import KafkaBusProducer
from shared.db import SessionFactory, connect, make_session_factory
from shared.feedback_tokens import FeedbackTokens
from shared.http import create_app
from shared.logging import configure_logging
from shared.process import Worker, run_workers, serve
from shared.settings import load_settings

logger = structlog.get_logger(__name__)

SERVICE = "ingest"
PORT = 1


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings, own = load_settings(SharedSettings), load_settings(IngestSettings)
    configure_logging(SERVICE, settings.log_level)
    producer = KafkaBusProducer(
        settings.kafka_bootstrap_servers, client_id=SERVICE, deadline_seconds=own.ack_deadline_seconds
    )
    serve(create(settings, own, producer), settings.bind_host, settings.port or settings.port_base + PORT)


def create(settings: SharedSettings, own: IngestSettings, producer: Producer) -> FastAPI:
    engine = connect(settings)
    sessions = make_session_factory(engine)
    publisher = Publisher(
        producer,
        deadline_seconds=own.ack_deadline_seconds,
        max_in_flight=own.max_in_flight_events,
        max_in_flight_bytes=own.max_in_flight_bytes,
    )
    feedback_hashes = KnownHashes(_ask(sessions, find_feedback_hashes), deadline_seconds=own.conflict_lookup_seconds)
    interaction_hashes = KnownHashes(
        _ask(sessions, find_interaction_hashes), deadline_seconds=own.conflict_lookup_seconds
    )
    keys = KeyRing(lambda: load_keys(sessions))
    try:
        keys.refresh()
    except Exception as error:
        logger.warning("keys_not_loaded_yet", error=repr(error))

    def close() -> None:
        publisher.close()
        producer.close(10.0)
        feedback_hashes.close()
        interaction_hashes.close()
        engine.dispose()

    app = create_app(
        SERVICE,
        checks={"keys": keys.check},
        lifespan=run_workers([Worker("keys", keys.run)], close),
        max_body_bytes=own.max_body_bytes,
    )
    app.state.keys = keys
    secret = settings.user_hash_secret.get_secret_value()
    reader = Reader(_make_limits(own), secret, settings.topic_prefix, now)
    room = Room(
        feedback=Intake(
            "feedback", reader.read_feedback, publisher, feedback_hashes, RecentEvents(own.remembered_events)
        ),
        interactions=Intake(
            "interaction", reader.read_interaction, publisher, interaction_hashes, RecentEvents(own.remembered_events)
        ),
        tokens=FeedbackTokens(settings.feedback_token_secret.get_secret_value()),
        sessions=sessions,
        user_hash_secret=secret,
        now=now,
    )
    app.include_router(create_router(room))
    extend_openapi(app)
    if own.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=own.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-heliotrope-feedback-token"],
            expose_headers=["retry-after", "x-request-id"],
        )
    return app


def _make_limits(own: IngestSettings) -> Limits:
    skew = timedelta(seconds=own.future_skew_seconds)
    oldest = timedelta(days=own.oldest_feedback_days) if own.oldest_feedback_days else None
    return Limits(TimeLimits(skew, None), TimeLimits(skew, oldest), own.max_event_bytes)


def _ask(sessions: SessionFactory, query: Callable[[Session, str, Sequence[UUID]], dict[UUID, str]]) -> Find:
    def find(key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
        with sessions() as session:
            return query(session, key_id, event_ids)

    return find
