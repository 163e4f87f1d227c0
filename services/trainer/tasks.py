"""The Celery task that wakes a worker.

It is sent once for each run but names none: the worker asks the database which run is next, so that runs begin in fair
order whatever order they were queued in.
"""

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.trainer.ports import Enqueue
from shared.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    from shared.celery_app import BaseTask

TRAIN = "trainer.train"


def training_queue(settings: Settings, device: str | None = None) -> str:
    """Name the queue of a kind of device; runs that ask for none have a queue of their own."""
    return f"{settings.topic_prefix}training" + (f".{device}" if device else "")


def list_queues(settings: Settings, devices: str) -> list[str]:
    """List the queues of a worker with these kinds of device, separated by commas. Celery takes from them in turn."""
    kinds = [kind for kind in devices.split(",") if kind]
    return [training_queue(settings), *(training_queue(settings, kind) for kind in kinds)]


def make_enqueue(app: "Celery[BaseTask]", settings: Settings) -> Enqueue:
    """Make the function that sends the task."""

    def enqueue(device: str | None) -> None:
        """Send the task to the queue of this kind of device."""
        app.send_task(TRAIN, kwargs={"device": device}, queue=training_queue(settings, device))

    return enqueue


def register_train(app: "Celery[BaseTask]", execute_next_run: Callable[[str | None, threading.Event], None]) -> None:
    """Register the task. It runs in a child process; SIGTERM to that process sets the event."""

    def train(device: str | None = None, run_id: str | None = None) -> None:
        """Execute the next run. `run_id`: in messages from before 2026-11-23, and not needed."""
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())  # now: the pool sets its own when the child starts
        execute_next_run(device, stop)

    app.task(name=TRAIN)(train)
