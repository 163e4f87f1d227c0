"""What an admin approves, and the log of who did what: hashes over canonical JSON."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

GENESIS = "0" * 64
_encoder = msgspec.json.Encoder(order="sorted")


def calculate_approval_hash(*, weights: str, dataset: str, recipe: str, report: str) -> str:
    """Return the SHA-256 (hex) over the four hashes; a change of any of them voids an approval."""
    return hashlib.sha256(
        _encoder.encode({"weights": weights, "dataset": dataset, "recipe": recipe, "report": report})
    ).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One line of the audit log."""

    sequence: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    previous_hash: str
    hash: str


def calculate_entry_hash(
    sequence: int, at: datetime, actor: str, action: str, subject: str, detail: Mapping[str, Any], previous_hash: str
) -> str:
    """Return the SHA-256 (hex) over the entry and the hash of the one before it.

    `at` counts in UTC: Postgres gives times back in the zone of the session.
    """
    content = [sequence, at.astimezone(UTC).isoformat(), actor, action, subject, dict(detail), previous_hash]
    return hashlib.sha256(_encoder.encode(content)).hexdigest()


def find_broken_link(entries: Sequence[Entry]) -> int | None:
    """Return the number of the first entry that was changed, removed or inserted; None when the chain holds."""
    previous = GENESIS
    for expected, entry in enumerate(entries, start=1):
        calculated = calculate_entry_hash(
            entry.sequence, entry.at, entry.actor, entry.action, entry.subject, entry.detail, previous
        )
        if (entry.sequence, entry.previous_hash, entry.hash) != (expected, previous, calculated):
            return expected
        previous = entry.hash
    return None
