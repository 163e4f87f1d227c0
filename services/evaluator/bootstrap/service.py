"""Composition root: `python -m services.evaluator` is API, consumer, generation, closing and relay in one process."""

from datetime import UTC, datetime
from functools import partial

from fastapi import FastAPI

from services.evaluator.adapters.datasets import load_training_questions
from services.evaluator.adapters.generation_process import SubprocessGenerator
from services.evaluator.adapters.models import fetch_model
from services.evaluator.adapters.policies import load_policy
from services.evaluator.adapters.task_process import SubprocessTaskRunner
from services.evaluator.api import create_router
from services.evaluator.consumer import TrainingConsumer
from services.evaluator.handlers.auditing import AuditHandler
from services.evaluator.handlers.completion import CompletionHandler
from services.evaluator.handlers.generation import GenerationHandler
from services.evaluator.handlers.voting import VoteHandler
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.tasks import list_workers
from shared.artifacts import open_artifacts
from shared.auth import open_key_ring
from shared.bus.access import list_read_topics
from shared.bus.opening import open_consumer, open_producer
from shared.consumer import ConsumerLoop
from shared.db import check_database, connect, make_session_factory
from shared.dead_letters import DeadLetters
from shared.http import create_app
from shared.logging import configure_logging
from shared.outbox import Relay
from shared.process import Worker, run_workers, serve
from shared.registry.login import log_in_to_mlflow
from shared.registry.mlflow import MlflowRegistry
from shared.settings import Settings, load_settings
from shared.signing import Verifier
from shared.tables.evaluator import Outbox
from shared.user_hash_generations import UserHashesInForce, configure_user_hashes

SERVICE = "evaluator"


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings, own = load_settings(Settings), load_settings(EvaluatorSettings)
    configure_logging(SERVICE, settings.log_level)
    serve(create(settings, own), settings, settings.choose_port(SERVICE))


def create(settings: Settings, own: EvaluatorSettings) -> FastAPI:
    engine = connect(settings)
    sessions = make_session_factory(engine)
    log_in_to_mlflow(settings)
    registry = MlflowRegistry(settings.mlflow_tracking_uri, settings.family)
    producer, consumer = open_producer(settings, SERVICE), open_consumer(settings, SERVICE)
    topics = list_read_topics(SERVICE, settings.topic_prefix)
    handler = TrainingConsumer(settings.family, own, now)
    loop = ConsumerLoop(SERVICE, consumer, handler, sessions, DeadLetters(producer, SERVICE), topics=topics)
    artifacts = open_artifacts(settings)
    generation = GenerationHandler(
        sessions,
        registry,
        SubprocessGenerator(),
        partial(load_training_questions, artifacts),
        partial(fetch_model, artifacts, Verifier(settings.manifest_public_keys)),
        settings.datasets,
        own,
        now,
        load_policy(own.policy),
        SubprocessTaskRunner() if own.tasks else None,
    )
    completion = CompletionHandler(sessions, registry, artifacts, own, settings.topic_prefix, now)
    auditing = AuditHandler(sessions, settings.family, own, now)
    user_hashes = UserHashesInForce(configure_user_hashes(settings), sessions)
    keys = open_key_ring(sessions, settings.assertion_public_keys, user_hashes)

    def close() -> None:
        producer.close(10.0)
        engine.dispose()

    workers = [
        Worker("consumer", loop.run),
        Worker("relay", Relay(sessions, Outbox, producer).run),
        Worker("keys", keys.run),
        *list_workers(generation, completion, auditing, sessions),
    ]
    app = create_app(
        SERVICE,
        checks={"database": lambda: check_database(engine), "registry": registry.check, "consumer": loop.check},
        lifespan=run_workers(workers, close),
    )
    app.state.keys = keys
    voting = VoteHandler(sessions, user_hashes, own.lease_seconds, own.leases_per_key, now)
    app.include_router(create_router(voting, sessions))
    return app
