"""Composition root of `python -m services.curator api`: API, consumer, sweeper and relay in one process."""

from datetime import UTC, datetime, timedelta
from functools import partial

from fastapi import FastAPI

from services.curator.app.api import create_router
from services.curator.app.consumer import CuratorConsumer
from services.curator.app.handlers import Sweeper
from services.curator.cells.adapters.choice import open_embedder
from services.curator.config.settings import CuratorSettings
from services.curator.erasure.api import create_erasure_router
from services.curator.erasure.handlers import Eraser
from services.curator.imports.api import create_imports_router
from services.curator.imports.handlers import Withdrawer
from services.curator.requests.api import create_loop_router
from services.curator.review.api import create_review_router
from shared.artifacts import open_artifacts
from shared.auth import open_key_ring
from shared.bus import Producer
from shared.bus.access import list_read_topics
from shared.bus.opening import open_consumer, open_producer
from shared.consumer import ConsumerLoop
from shared.db import SessionFactory, check_database, connect, make_session_factory
from shared.dead_letters import DeadLetters
from shared.http import Check, create_app
from shared.logging import configure_logging
from shared.outbox import Relay
from shared.process import Worker, every, run_workers, serve
from shared.settings import Settings, load_settings
from shared.tables.curator import Outbox
from shared.user_hash_generations import UserHashesInForce, configure_user_hashes, load_user_hashes

SERVICE = "curator"
ERASURES_SECONDS = 5.0


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings, curator = load_settings(Settings), load_settings(CuratorSettings)
    configure_logging(SERVICE, settings.log_level)
    serve(create(settings, curator), settings, settings.choose_port(SERVICE))


def create(settings: Settings, curator: CuratorSettings) -> FastAPI:
    engine = connect(settings)
    sessions = make_session_factory(engine)
    producer = open_producer(settings, SERVICE)
    loop = create_consumer_loop(settings, sessions, producer)
    configured = configure_user_hashes(settings)
    user_hashes = UserHashesInForce(configured, sessions)
    keys = open_key_ring(sessions, settings.assertion_public_keys, user_hashes)

    def close() -> None:
        producer.close(10.0)
        engine.dispose()

    retention = timedelta(days=curator.raw_retention_days)
    load_hashes = partial(load_user_hashes, configured)
    artifacts = open_artifacts(settings)
    eraser = Eraser(sessions, settings.datasets, artifacts, retention, now, load_hashes, settings.topic_prefix)
    withdrawer = Withdrawer(eraser)
    workers = [
        Worker("consumer", loop.run),
        Worker("relay", Relay(sessions, Outbox, producer).run),
        Worker("keys", keys.run),
        every(ERASURES_SECONDS, "erasures", eraser.finish_running),
        every(ERASURES_SECONDS, "withdrawals", withdrawer.finish_running),
        every(curator.sweep_seconds, "sweep", Sweeper(sessions, curator, settings.topic_prefix, now).sweep),
    ]
    checks: dict[str, Check] = {
        "database": partial(check_database, engine),
        "keys": keys.check,
        "user-hashes": user_hashes.check,
        "consumer": loop.check,
    }
    app = create_app(SERVICE, checks=checks, lifespan=run_workers(workers, close))
    app.state.keys = keys
    app.include_router(create_router(sessions))
    app.include_router(create_loop_router(sessions, settings, curator, open_embedder(curator), now))
    app.include_router(create_review_router(sessions, now))
    app.include_router(create_imports_router(sessions, withdrawer))
    app.include_router(create_erasure_router(sessions, eraser, user_hashes))
    return app


def create_consumer_loop(settings: Settings, sessions: SessionFactory, producer: Producer) -> ConsumerLoop:
    topics, consumer = list_read_topics(SERVICE, settings.topic_prefix), open_consumer(settings, SERVICE)
    letters = DeadLetters(producer, SERVICE)
    handler = CuratorConsumer(partial(load_user_hashes, configure_user_hashes(settings)))
    return ConsumerLoop(SERVICE, consumer, handler, sessions, letters, savepoints=False, topics=topics)
