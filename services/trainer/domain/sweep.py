"""What to do about a run that is not finished."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal


@dataclass(frozen=True)
class OpenRun:
    """A queued or running run, as the sweeper finds it."""

    state: str
    deadline_at: datetime
    enqueued_at: datetime | None
    heartbeat_at: datetime | None


@dataclass(frozen=True)
class Patience:
    requeue_after: timedelta
    """A queued run that nobody has picked up for this long is put into the queue again."""
    heartbeat_timeout: timedelta
    """A running run that is silent for this long has lost its worker."""


def next_step(run: OpenRun, now: datetime, patience: Patience) -> Literal["wait", "enqueue", "close"]:
    """What an open run needs.

    - past its deadline: close
    - queued: enqueue if it never was, or was and nobody came
    - running with a fresh heartbeat: wait
    - running with an expired one: enqueue, once at once and then as if it were queued
    """
    if now >= run.deadline_at:
        return "close"
    if run.state == "running" and run.heartbeat_at is not None:
        if now - run.heartbeat_at < patience.heartbeat_timeout:
            return "wait"
        if run.enqueued_at is not None and run.enqueued_at <= run.heartbeat_at:
            return "enqueue"
    if run.enqueued_at is None or now - run.enqueued_at >= patience.requeue_after:
        return "enqueue"
    return "wait"
