"""The process `python -m services.trainer worker`: Celery, with one child process for each run.

torch is loaded in the child only, so its memory goes back when the run is over. A child that loses its parent is killed
by the system (celery asks for that), so no run is carried on unseen.
"""

import os
import signal
import socket
import sys
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import billiard.process
import psycopg  # noqa: F401 - SQLAlchemy would import it late, in whichever thread connects first
import uvicorn
from celery import signals
from celery.worker import state

from services.trainer.adapters.artifacts.provenance import load_code_version
from services.trainer.adapters.wandb_mirror import make_mirror
from services.trainer.bootstrap.launchers import load_offers
from services.trainer.bootstrap.methods import ENVIRONMENT, METHODS, measure_kl_here
from services.trainer.bootstrap.rewards import read_reward_rules
from services.trainer.domain.launching.endings import LauncherRefused
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.settings import TrainerSettings
from services.trainer.tasks import list_queues, register_train
from shared.artifacts import open_artifacts
from shared.celery_app import create_celery
from shared.db import check_database, connect, make_session_factory
from shared.errors import InvalidRequest
from shared.http import create_app
from shared.http_protocol import DeadlineHttpProtocol
from shared.logging import configure_logging
from shared.registry.login import log_in_to_mlflow
from shared.settings import Settings, load_settings
from shared.signing import Verifier, load_signer

if TYPE_CHECKING:
    from celery import Celery

    from shared.celery_app import BaseTask


def run_worker() -> None:
    """Start, and work until told to stop: then the run in hand saves a checkpoint and goes back to the queue."""
    settings, trainer = load_settings(Settings), load_settings(TrainerSettings)
    configure_logging("trainer-worker", settings.log_level)
    try:
        make_mirror(trainer, settings.home)
        load_offers(trainer, settings.home)
    except (InvalidRequest, LauncherRefused) as error:
        sys.exit(error.detail)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    celery = create_celery(settings)
    register_train(celery, partial(execute_in_child, settings, trainer))
    connect_signals()
    signals.worker_ready.connect(lambda **_: serve_health(settings, celery), weak=False)
    worker = celery.Worker(
        pool="prefork",
        concurrency=1,
        queues=list_queues(settings, trainer.devices),
        hostname=f"trainer-{os.getpid()}@{socket.gethostname()}",
        quiet=True,
        loglevel=settings.log_level,
    )
    worker.start()
    raise SystemExit(worker.exitcode)


def connect_signals() -> None:
    """Keep celery's hands off the logging, and pass the request to stop on to a child that is at work."""

    def keep_logging(**_: Any) -> None:
        """Keep our logging: a receiver of this signal replaces celery's own set-up."""

    def stop_children_gently(**_: Any) -> None:
        if state.active_requests:
            for child in billiard.process.active_children():
                if child.pid:
                    os.kill(child.pid, signal.SIGTERM)

    signals.setup_logging.connect(keep_logging, weak=False)
    signals.worker_shutting_down.connect(stop_children_gently, weak=False)


def serve_health(settings: Settings, celery: "Celery[BaseTask]") -> None:
    """Serve health and metrics in a thread beside Celery, which needs the main one.

    Started when the first child is there: a child forked while this thread imports a module would wait for that
    module's lock for ever. For later children everything is imported already, psycopg by this module itself.
    """

    def check_queue() -> None:
        with celery.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)

    def check_postgres() -> None:
        engine = connect(settings, pool_size=1)
        try:
            check_database(engine)
        finally:  # a child must not inherit an open connection
            engine.dispose()

    app = create_app("trainer-worker", checks={"queue": check_queue, "database": check_postgres})
    config = uvicorn.Config(
        app,
        http=DeadlineHttpProtocol,
        host=settings.bind_host,
        port=settings.choose_port("trainer-worker"),
        log_config=None,
        access_log=False,
        server_header=False,
    )
    threading.Thread(target=uvicorn.Server(config).run, name="health", daemon=True).start()


def execute_in_child(settings: Settings, trainer: TrainerSettings, device: str | None, stop: threading.Event) -> None:
    """Open the worker's connections, execute the next run, and close them."""
    from services.trainer.adapters.artifacts.dataset import TRAIN_FILE, fetch_dataset
    from services.trainer.adapters.artifacts.run_storage import RunStorage
    from shared.registry.mlflow import MlflowRegistry  # takes seconds, and only this process needs it

    log_in_to_mlflow(settings)
    artifacts, runs_folder = open_artifacts(settings), settings.home.absolute() / "runs"
    fetched: list[Path] = []

    def fetch(uri: str) -> Path:
        fetched.append(fetch_dataset(artifacts, uri))
        return fetched[-1]

    engine = connect(settings, pool_size=2, idle_seconds=trainer.heartbeat_timeout_seconds)
    context = WorkerContext(
        sessions=make_session_factory(engine),
        registry=MlflowRegistry(settings.mlflow_tracking_uri, settings.family),
        methods={name: partial(train, trainer.threads) for name, train in METHODS.items()},
        measure_kl=partial(measure_kl_here, trainer.threads),
        runs_folder=runs_folder,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        code_version=load_code_version(),
        topic_prefix=settings.topic_prefix,
        heartbeat_seconds=trainer.heartbeat_seconds,
        registry_patience=timedelta(seconds=trainer.registry_patience_seconds),
        heartbeat_timeout=timedelta(seconds=trainer.heartbeat_timeout_seconds),
        stop=stop,
        storage=RunStorage(artifacts, runs_folder, Verifier(settings.manifest_public_keys)),
        fetch_dataset=fetch,
        mirror=make_mirror(trainer, settings.home.absolute()),
        signer=load_signer(trainer.manifest_key),
        rewards=read_reward_rules(trainer),
        offers=load_offers(trainer, settings.home.absolute()),
        launcher=trainer.launcher or None,
        launcher_poll_seconds=trainer.launcher_poll_seconds,
    )
    try:
        artifacts.drop_unused(TRAIN_FILE)  # whoever is erased must not stay in what a killed reader left
        execute_next_run(device, context)
    finally:
        for dataset in fetched:  # whoever is erased must not stay in a cache
            artifacts.drop(dataset)
        engine.dispose()
