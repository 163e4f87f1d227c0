"""What can go wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

from heliotrope_client.items import Item


class HeliotropeError(Exception):
    """Base of this package's errors."""


class Rejected(HeliotropeError):
    """Something is wrong with an event, or with the key. Sending it again will not help.

    `errors` names the wrong fields, as `{"field": ..., "message": ...}`; `events` are those that were rejected.
    """

    def __init__(self, problem: Mapping[str, Any], events: Sequence[Item]) -> None:
        super().__init__(f"{problem.get('title', 'Rejected')}: {problem.get('detail', '')}")
        self.status = int(problem.get("status", 0))
        self.errors: list[dict[str, str]] = list(problem.get("errors", []))
        self.events = list(events)


class NotStored(HeliotropeError):
    """It is not known whether these events were stored. Sending the same ones again is safe."""

    def __init__(self, reason: str, events: Sequence[Item]) -> None:
        super().__init__(f"{len(events)} event(s) not acknowledged: {reason}")
        self.events = list(events)


class QueueFull(HeliotropeError):
    """The queue holds as much as it may; this event was not kept."""


def raise_all(rejected: Sequence[Rejected]) -> None:
    """Raise the first, which then speaks of all events that were rejected; nothing when there is none."""
    if rejected:
        rejected[0].events = [event for error in rejected for event in error.events]
        raise rejected[0]
