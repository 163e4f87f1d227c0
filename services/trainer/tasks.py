"""The Celery task that wakes a worker, and how it is sent: once for each run, but not with one. Which is next, the
worker asks the database, so that runs are begun in fair order whatever order they were queued in."""

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from shared.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    from shared.celery_app import BaseTask

TRAIN = "trainer.train"


class Enqueue(Protocol):
    """Wakes a worker for one more run. Called twice for a run, one worker finds nothing to do."""

    def __call__(self, device: str | None) -> None:
        """`device`: the kind that the run asks for."""


def training_queue(settings: Settings, device: str | None = None) -> str:
    """One queue for each kind of device, and one for runs that ask for none."""
    return f"{settings.topic_prefix}training" + (f".{device}" if device else "")


def list_queues(settings: Settings, devices: str) -> list[str]:
    """The queues of a worker with these kinds of device, separated by commas. Celery takes from them in turn."""
    kinds = [kind for kind in devices.split(",") if kind]
    return [training_queue(settings), *(training_queue(settings, kind) for kind in kinds)]


def make_enqueue(app: "Celery[BaseTask]", settings: Settings) -> Enqueue:
    def enqueue(device: str | None) -> None:
        app.send_task(TRAIN, kwargs={"device": device}, queue=training_queue(settings, device))

    return enqueue


def register_train(app: "Celery[BaseTask]", carry_out: Callable[[str | None, threading.Event], None]) -> None:
    """Register the task. It runs in a child process; SIGTERM to that process sets the event."""

    def train(device: str | None = None, run_id: str | None = None) -> None:
        """`run_id`: in messages from before 2026-11-23, and not needed."""
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())  # now: the pool sets its own when the child starts
        carry_out(device, stop)

    app.task(name=TRAIN)(train)
