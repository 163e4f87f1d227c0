"""Scheduling: which waiting run is next, and what an open run needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID


@dataclass(frozen=True)
class WaitingRun:
    run_id: UUID
    requester: str
    requested_at: datetime


@dataclass(frozen=True)
class Share:
    """What a requester has had of the workers."""

    running: int = 0
    last_end: datetime | None = None
    """When the last of its runs that had started was over."""


def choose_next(waiting: Sequence[WaitingRun], shares: Mapping[str, Share]) -> WaitingRun | None:
    """Choose the oldest run of the requester with the fewest running; of several, of who has waited longest.

    A requester has waited since its oldest run came, or since its last one ended, whichever is later. So while one
    waits with nothing running, each other requester's runs are begun at most once, and those of requesters who come
    later not at all: fair queueing by turns (Nagle, RFC 970), one run a turn.
    """

    def rank(run: WaitingRun) -> tuple[int, datetime, datetime, UUID]:
        share = shares.get(run.requester, Share())
        since = max(run.requested_at, share.last_end or run.requested_at)
        return share.running, since, run.requested_at, run.run_id

    oldest: dict[str, WaitingRun] = {}
    for run in sorted(waiting, key=lambda run: (run.requested_at, run.run_id)):
        oldest.setdefault(run.requester, run)
    return min(oldest.values(), key=rank, default=None)


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
    """Decide what an open run needs.

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


LONGEST_PAUSE_SECONDS = 15.0


def list_pauses(patience_seconds: float) -> list[float]:
    """List the pauses between tries: they double from 1 s to 15 s and add up to the patience or somewhat more."""
    pauses, pause = [1.0], 1.0
    while sum(pauses) < patience_seconds:
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        pauses.append(pause)
    return pauses
