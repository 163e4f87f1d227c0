"""What the clients do, sync or async, step by step, without doing it: post, hear, wait, and again."""

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from heliotrope_client.answers import Verdict, assess, make_request, next_pause, split
from heliotrope_client.errors import NotStored, Rejected, raise_all
from heliotrope_client.items import Item
from heliotrope_client.queues import Queue


@dataclass(frozen=True)
class Post:
    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Pause:
    seconds: float


Heard = httpx.Response | httpx.TransportError | None
"""What came of a step: an answer, or none, of a post; nothing of a pause."""

Steps = Generator[Post | Pause, Heard, None]


def advance(steps: Steps, heard: Heard) -> Post | Pause | None:
    """Return the next step; None: there is none."""
    try:
        return steps.send(heard)
    except StopIteration:
        return None


def deliver(items: Sequence[Item], retries: int) -> Steps:
    """Send all, a batch at a time, and each until it is stored.

    Raises:
        Rejected: some are wrong; the others are stored.
        NotStored: it is not known whether some are stored.
    """
    rejected: list[Rejected] = []
    left = list(items)
    for batch in split(items):
        left = left[len(batch) :]
        try:
            yield from _deliver_batch(batch, retries)
        except Rejected as error:
            rejected.append(error)
        except NotStored as error:
            error.events += left
            raise error from (rejected[0] if rejected else error.__cause__)
    raise_all(rejected)


def _deliver_batch(batch: Sequence[Item], retries: int) -> Steps:
    waiting, rejected = list(batch), list[Rejected]()
    for attempt in range(1, retries + 2):
        path, body = make_request(waiting)
        verdict = _judge(waiting, (yield Post(path, body)))
        waiting = verdict.again
        rejected += [verdict.rejected] if verdict.rejected else []
        if not waiting:
            break
        if attempt > retries:
            raise NotStored(verdict.reason, waiting) from (rejected[0] if rejected else None)
        yield Pause(next_pause(attempt, verdict.pause_seconds, random.random()))
    raise_all(rejected)


def _judge(items: list[Item], heard: Heard) -> Verdict:
    if isinstance(heard, httpx.Response):
        return assess(items, heard)
    return Verdict(items, type(heard).__name__)


def drain(queue: Queue, retries: int) -> Steps:
    """Send what is queued, oldest first. What is not stored after all retries stays. Raises as `deliver` does."""
    rejected: list[Rejected] = []
    while batch := queue.peek():
        try:
            yield from _deliver_batch(batch, retries)
        except Rejected as error:
            rejected.append(error)
        except NotStored as error:
            waiting = {item.item_id for item in error.events}
            queue.remove([item for item in batch if item.item_id not in waiting])
            raise error from (rejected[0] if rejected else error.__cause__)
        queue.remove(batch)
    raise_all(rejected)
