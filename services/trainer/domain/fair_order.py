"""Which of the waiting runs is next, so that nobody's requests crowd out another's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    """The oldest run of the requester with the fewest running; among several, of the one who has waited longest.

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
