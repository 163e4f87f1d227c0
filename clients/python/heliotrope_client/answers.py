"""What an answer means for the events that were sent: stored, to be sent again, or wrong."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from heliotrope_client.errors import Rejected
from heliotrope_client.items import Item

MAX_BATCH = 1_000
MAX_BATCH_BYTES = 4_000_000
AGAIN = (408, 425, 429)
MAX_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class Verdict:
    """`again` are the events to send again, and `reason` is why; `rejected` the first that was wrong, if any."""

    again: list[Item]
    reason: str = ""
    pause_seconds: float = 0.0
    rejected: Rejected | None = None


def make_request(events: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    """Return path and body, of events of one kind: one by itself, several as a batch."""
    if len(events) == 1:
        return events[0].path, events[0].body()
    return f"{events[0].path}/batch", {"events": [event.body() for event in events]}


def split(events: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield batches that ingest takes: of one kind, few enough events, and small enough together."""
    batch: list[Item] = []
    room = MAX_BATCH_BYTES
    for event in events:
        size = len(json.dumps(event.body()))
        if batch and (len(batch) == MAX_BATCH or size > room or event.path != batch[0].path):
            yield batch
            batch, room = [], MAX_BATCH_BYTES
        batch.append(event)
        room -= size
    if batch:
        yield batch


def assess(events: Sequence[Item], answer: httpx.Response) -> Verdict:
    if answer.status_code in AGAIN or answer.status_code >= 500:
        pause = read_retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
        return Verdict(list(events), f"status {answer.status_code}", pause)
    if answer.status_code >= 400:
        return Verdict([], rejected=Rejected(_read_problem(answer), events))
    if answer.status_code == 202:
        return Verdict([])
    return _assess_outcomes(events, answer.json()["outcomes"])


def _assess_outcomes(events: Sequence[Item], outcomes: Sequence[dict[str, Any]]) -> Verdict:
    pairs = list(zip(events, outcomes, strict=True))
    again = [event for event, outcome in pairs if outcome["outcome"] == "retry"]
    wrong = [(event, outcome["problem"]) for event, outcome in pairs if outcome["outcome"] == "rejected"]
    rejected = Rejected(wrong[0][1], [event for event, _ in wrong]) if wrong else None
    return Verdict(again, "the broker did not answer in time" if again else "", rejected=rejected)


def _read_problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"status": answer.status_code, "title": answer.reason_phrase}


def read_retry_after(text: str, now: datetime) -> float:
    """Return the seconds that a `Retry-After` asks for: a number, a fraction, or a date; 0 without one to be read."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, now)
    return min(seconds, MAX_PAUSE_SECONDS) if seconds > 0 else 0.0


def _seconds_until(date: str, now: datetime) -> float:
    try:
        at = parsedate_to_datetime(date)
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, OverflowError):
        return 0.0


def next_pause(attempt: int, asked: float, spread: float) -> float:
    """Return the seconds before attempt `attempt` (1, 2, ...): what the server asked, at least 0.1, 0.2, 0.4, ... s.

    At most 30 s. `spread` in [0, 1) keeps many clients from coming back together.
    """
    return min(MAX_PAUSE_SECONDS, max(asked, 0.1 * 2.0 ** (attempt - 1))) * (1 + 0.25 * spread)
