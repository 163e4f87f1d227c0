"""The deployer's composition root."""

import sys
from datetime import UTC, datetime
from functools import partial
from typing import get_args

from services.deployer.adapters.alerts import list_firing_alerts
from services.deployer.adapters.candidate_files import CandidateFiles
from services.deployer.adapters.serving import open_serving
from services.deployer.adapters.serving_agent import create_agent
from services.deployer.adapters.webhooks import WebhookPosts
from services.deployer.api import create_router, create_sign_in_router
from services.deployer.domain.rollout import Command
from services.deployer.handlers.adoption import Adoption
from services.deployer.handlers.binding import Binding
from services.deployer.handlers.change import Rollouts
from services.deployer.handlers.commands import Commands
from services.deployer.handlers.events import EventHandler
from services.deployer.handlers.maintenance import Maintenance
from services.deployer.handlers.notifying import Delivery
from services.deployer.handlers.reconciler import Reconciler
from services.deployer.metrics import CHANGES
from services.deployer.settings import DeployerSettings
from services.deployer.tasks import list_workers
from shared.artifacts import open_artifacts
from shared.auth import open_key_ring
from shared.bus.access import list_read_topics
from shared.bus.opening import open_consumer, open_producer
from shared.consumer import ConsumerLoop
from shared.db import SessionFactory, check_database, connect, make_session_factory
from shared.dead_letters import DeadLetters
from shared.errors import HeliotropeError
from shared.http import create_app
from shared.logging import configure_logging
from shared.metrics import start_at_zero
from shared.outbox import Relay
from shared.process import Worker, run_workers, serve
from shared.registry.login import log_in_to_mlflow
from shared.registry.mlflow import MlflowRegistry
from shared.settings import Settings, load_settings
from shared.signing import Verifier, load_signer
from shared.tables.deployer import Outbox
from shared.user_hash_generations import configure_user_hashes, load_user_hashes


def now() -> datetime:
    return datetime.now(UTC)


def make_rollouts(settings: Settings) -> Rollouts:
    return Rollouts(load_settings(DeployerSettings), settings.family, settings.topic_prefix)


def load_generation(sessions: SessionFactory, rollouts: Rollouts) -> int:
    with sessions() as session:
        table = rollouts.find_table(session)
    return table.generation if table else 0


def make_binding(settings: Settings) -> Binding:
    """Open the registry and the artifacts, and trust the keys that the settings name."""
    log_in_to_mlflow(settings)
    return Binding(MlflowRegistry(settings.mlflow_tracking_uri, settings.family), make_files(settings))


def make_files(settings: Settings) -> CandidateFiles:
    """Open the artifacts, and trust the keys that the settings name."""
    return CandidateFiles(open_artifacts(settings), Verifier(settings.manifest_public_keys))


def run() -> None:
    """Serve until told to stop."""
    settings = load_settings(Settings)
    rollouts = make_rollouts(settings)
    configure_logging("deployer", settings.log_level)
    start_at_zero(CHANGES, get_args(Command))
    engine = connect(settings)
    sessions = make_session_factory(engine)
    binding = make_binding(settings)
    producer, consumer = open_producer(settings, "deployer"), open_consumer(settings, "deployer")
    keys = open_key_ring(sessions, settings.assertion_public_keys)
    serving = open_serving(
        settings, rollouts.settings, make_files(settings), partial(load_generation, sessions, rollouts)
    )
    list_alarms = partial(list_firing_alerts, rollouts.settings.alerts_url)
    reconciler = Reconciler(sessions, rollouts, binding, serving, now, list_alarms)
    webhooks = WebhookPosts(rollouts.settings.webhook_timeout_seconds)
    delivery = Delivery(sessions, rollouts.settings, webhooks.post, now)
    letters = DeadLetters(producer, "deployer")
    topics = list_read_topics("deployer", settings.topic_prefix)
    handler = EventHandler(rollouts, now, partial(load_user_hashes, configure_user_hashes(settings)))
    loop = ConsumerLoop("deployer", consumer, handler, sessions, letters, topics=topics)

    def close() -> None:
        producer.close(5)
        serving.close()
        webhooks.close()
        engine.dispose()

    workers = [
        Worker("keys", keys.run),
        Worker("consumer", loop.run),
        Worker("relay", Relay(sessions, Outbox, producer).run),
        *list_workers(reconciler, Maintenance(sessions, rollouts, binding.registry, now, serving), delivery),
    ]
    app = create_app(
        "deployer",
        checks={"database": lambda: check_database(engine), "keys": keys.check},
        outages={"consumer": loop.check},  # a rollback must be possible all the same
        lifespan=run_workers(workers, close),
    )
    app.state.keys = keys
    app.include_router(create_router(Commands(sessions, rollouts, binding, now, serving), sessions))
    app.include_router(create_sign_in_router(load_signer(rollouts.settings.assertion_key), now))
    serve(app, settings, settings.choose_port("deployer"))


def run_agent(vllm_url: str, port: int) -> None:
    """Serve beside a vLLM until told to stop."""
    settings, own = load_settings(Settings), load_settings(DeployerSettings)
    configure_logging("serving-agent", settings.log_level)
    memory = settings.home / "wanted_adapters.json"
    agent = create_agent(open_artifacts(settings), vllm_url, own.model_server_key.get_secret_value(), memory)
    serve(agent, settings, port)


def run_adopt(model: str, name: str | None, files: str | None) -> None:
    """Make a model the first champion, say what happened, and end."""
    settings = load_settings(Settings)
    configure_logging("deployer", settings.log_level)
    engine = connect(settings)
    rollouts = make_rollouts(settings)
    commands = Commands(make_session_factory(engine), rollouts, make_binding(settings), now)
    signer = load_signer(rollouts.settings.manifest_key)
    try:
        adoption = Adoption(commands, open_artifacts(settings), settings.model_server_urls[0], signer)
        sys.stdout.write(adoption.adopt(model, name, files) + "\n")
    except HeliotropeError as error:
        sys.exit(error.detail)
    finally:
        engine.dispose()
