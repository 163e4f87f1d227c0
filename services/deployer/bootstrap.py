"""The deployer's composition root."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import Engine

from services.deployer.adapters.model_server import ModelServer
from services.deployer.adapters.weights import calculate_weights_sha256
from services.deployer.api import create_router
from services.deployer.handlers.change import Rollouts
from services.deployer.handlers.commands import Commands
from services.deployer.handlers.events import TOPICS, EventHandler
from services.deployer.handlers.ticks import Ticker
from services.deployer.settings import DeployerSettings
from shared.auth import KeyRing, load_keys
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer
from shared.consumer import ConsumerLoop
from shared.db import check_database, connect, make_session_factory
from shared.dead_letters import DeadLetters
from shared.events import Route
from shared.http import create_app
from shared.logging import configure_logging
from shared.outbox import Relay
from shared.process import Worker, every, run_workers, serve
from shared.registry.mlflow import MlflowRegistry
from shared.settings import Settings, load_settings
from shared.tables.deployer import Outbox

PORT = 4
ALIASES_EVERY_SECONDS = 5.0
CLEANING_EVERY_SECONDS = 3_600.0

logger = structlog.get_logger(__name__)


def now() -> datetime:
    return datetime.now(UTC)


def make_rollouts(settings: Settings) -> Rollouts:
    return Rollouts(
        load_settings(DeployerSettings), settings.family, settings.topic_prefix, list(settings.model_server_urls)
    )


def run() -> None:
    """Serve until told to stop."""
    settings = load_settings(Settings)
    rollouts = make_rollouts(settings)
    configure_logging("deployer", settings.log_level)
    engine = connect(settings)
    sessions = make_session_factory(engine)
    registry = MlflowRegistry(settings.mlflow_tracking_uri, settings.family)
    producer = KafkaBusProducer(settings.kafka_bootstrap_servers, client_id="deployer")
    consumer = KafkaBusConsumer(
        settings.kafka_bootstrap_servers,
        [settings.topic_prefix + topic for topic in TOPICS],
        f"{settings.topic_prefix}heliotrope-deployer",
        client_id="deployer",
        session_timeout_seconds=settings.consumer_session_timeout_seconds,
    )
    keys = KeyRing(lambda: load_keys(sessions))
    loader = ModelServer()
    ticker = Ticker(sessions, rollouts, registry, loader, now)
    loop = ConsumerLoop("deployer", consumer, EventHandler(rollouts, now), sessions, DeadLetters(producer, "deployer"))

    def close() -> None:
        producer.close(5)
        loader.close()
        engine.dispose()

    workers = [
        Worker("keys", keys.run),
        Worker("consumer", loop.run),
        Worker("relay", Relay(sessions, Outbox, producer).run),
        every(rollouts.settings.tick_seconds, "ticker", ticker.tick),
        every(ALIASES_EVERY_SECONDS, "aliases", ticker.project_aliases),
        every(CLEANING_EVERY_SECONDS, "cleaning", ticker.delete_old_thumbs),
    ]
    app = create_app(
        "deployer", checks={"database": lambda: check_database(engine)}, lifespan=run_workers(workers, close)
    )
    app.state.keys = keys
    app.include_router(create_router(Commands(sessions, rollouts, registry, now), sessions))
    _refresh(keys)
    serve(app, settings.bind_host, settings.port or settings.port_base + PORT)


def _refresh(keys: KeyRing) -> None:
    try:
        keys.refresh()
    except Exception as error:
        logger.warning("keys_not_loaded", error=repr(error))


def run_adopt(model: str, name: str | None) -> None:
    """Register a served model, unless its weights are registered already, and make it the first champion."""
    settings = load_settings(Settings)
    configure_logging("deployer", settings.log_level)
    engine = connect(settings)
    try:
        sys.stdout.write(_adopt(settings, engine, model, name) + "\n")
    finally:
        engine.dispose()


def _adopt(settings: Settings, engine: Engine, model: str, name: str | None) -> str:
    registry = MlflowRegistry(settings.mlflow_tracking_uri, settings.family)
    commands = Commands(make_session_factory(engine), make_rollouts(settings), registry, now)
    with commands.sessions() as session:
        champion = commands.rollouts.find_table(session)
    if champion is not None:
        return f"version {champion.champion.version} is champion already; nothing changed"
    folder = Path(model)
    weights = calculate_weights_sha256(folder) if folder.is_dir() else None
    served = str(folder.resolve()) if folder.is_dir() else model
    tag, value = ("weights_sha256", weights) if weights else ("served_model", served)
    tags = {"served_model": served, "weights_sha256": weights or "", "name": name or folder.name, "adopted": "true"}
    version = registry.find_version(tag, value) or registry.register(served, None, tags)
    route = Route(version=version.version, model=version.served_model, base_url=settings.model_server_urls[0])
    table = commands.adopt(route, actor="heliotrope adopt")
    if table is None:
        return "another champion was adopted meanwhile; nothing changed"
    return f"version {version.version} ({tags['name']}) is the champion"
