"""Celery: queues wake workers; the truth about a run is its row in Postgres."""

import time
from typing import Any

import structlog
from celery import Celery, Task

from shared.settings import Settings

logger = structlog.get_logger(__name__)


class BaseTask(Task):  # type: ignore[type-arg]  # celery itself is not generic
    """Adds log context to every task, and logs its duration and outcome. Arguments are ids, given by keyword."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        ids = {name: str(value) for name, value in kwargs.items() if name.endswith("_id")}
        started = time.perf_counter()
        outcome = "failed"
        with structlog.contextvars.bound_contextvars(task=self.name, **ids):
            logger.info("task_started")
            try:
                result = super().__call__(*args, **kwargs)
                outcome = "succeeded"
                return result
            finally:
                seconds = time.perf_counter() - started
                logger.info("task_ended", outcome=outcome, seconds=round(seconds, 3))


def create_celery(settings: Settings) -> "Celery[BaseTask]":
    """Make the application; tasks are acknowledged when they start: what a dead worker held comes back through the
    sweeper, not the queue.
    """
    app: Celery[BaseTask] = Celery("heliotrope", broker=settings.redis_url.get_secret_value(), task_cls=BaseTask)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "visibility_timeout": 3600,
        },
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.2, "interval_max": 1.0},
    )
    return app
