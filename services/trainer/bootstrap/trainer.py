"""The process `python -m services.trainer`: consumer, sweeper, relay and API."""

from datetime import timedelta
from functools import partial

from services.trainer import api
from services.trainer.adapters.artifacts.recipe_files import load_recipe
from services.trainer.bootstrap.rewards import read_reward_rules
from services.trainer.consumer import RetrainHandler
from services.trainer.domain.planning.scheduling import Patience
from services.trainer.handlers.sweeper import Sweeper
from services.trainer.settings import TrainerSettings
from services.trainer.tasks import make_enqueue
from shared.auth import open_key_ring
from shared.bus.access import list_read_topics
from shared.bus.opening import open_consumer, open_producer
from shared.celery_app import create_celery
from shared.consumer import ConsumerLoop
from shared.db import check_database, connect, make_session_factory
from shared.dead_letters import DeadLetters
from shared.http import Check, create_app
from shared.logging import configure_logging
from shared.outbox import Relay
from shared.process import Worker, every, run_workers, serve
from shared.settings import Settings, load_settings
from shared.tables.trainer import Outbox


def run_trainer() -> None:
    """Start, and serve until told to stop."""
    settings, trainer = load_settings(Settings), load_settings(TrainerSettings)
    configure_logging("trainer", settings.log_level)
    engine = connect(settings)
    check_database(engine)
    sessions = make_session_factory(engine)
    keys = open_key_ring(sessions, settings.assertion_public_keys)
    producer, consumer = open_producer(settings, "trainer"), open_consumer(settings, "trainer")
    topics = list_read_topics("trainer", settings.topic_prefix)
    listed = read_reward_rules(trainer).functions
    load = partial(load_recipe, trainer.recipes_dir, reward_functions=listed)
    handler = RetrainHandler(load, trainer.recipe, settings.topic_prefix)
    loop = ConsumerLoop("trainer", consumer, handler, sessions, DeadLetters(producer, "trainer"), topics=topics)
    sweeper = Sweeper(
        sessions,
        make_enqueue(create_celery(settings), settings),
        Patience(
            timedelta(seconds=trainer.requeue_after_seconds), timedelta(seconds=trainer.heartbeat_timeout_seconds)
        ),
        timedelta(seconds=trainer.announce_again_seconds),
        settings.topic_prefix,
    )
    workers = [
        Worker("consumer", loop.run),
        Worker("relay", Relay(sessions, Outbox, producer).run),
        every(trainer.sweep_seconds, "sweep", sweeper.sweep),
        Worker("keys", keys.run),
    ]

    def close() -> None:
        producer.close(5.0)
        engine.dispose()

    checks: dict[str, Check] = {"database": partial(check_database, engine), "consumer": loop.check}
    app = create_app("trainer", checks=checks, lifespan=run_workers(workers, close))
    app.state.keys = keys
    app.include_router(api.make_router(sessions, topic_prefix=settings.topic_prefix))
    serve(app, settings, settings.choose_port("trainer"))
