"""The Celery task that wakes a worker for a run, and how it is sent."""

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from shared.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    from shared.celery_app import BaseTask

TRAIN = "trainer.train"


def training_queue(settings: Settings) -> str:
    return f"{settings.topic_prefix}training"


def make_enqueue(app: "Celery[BaseTask]", settings: Settings) -> Callable[[UUID], None]:
    """A function that wakes a worker for a run. It may be called twice for one run: claiming sorts that out."""

    def enqueue(run_id: UUID) -> None:
        app.send_task(TRAIN, kwargs={"run_id": str(run_id)}, queue=training_queue(settings))

    return enqueue


def register_train(app: "Celery[BaseTask]", carry_out: Callable[[UUID, threading.Event], None]) -> None:
    """Register the task. It runs in a child process; SIGTERM to that process sets the event."""

    def train(run_id: str) -> None:
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())  # now: the pool sets its own when the child starts
        carry_out(UUID(run_id), stop)

    app.task(name=TRAIN)(train)
