"""How much is new: what a dataset frozen now would hold beyond the last one that was trained on.

To know it takes nearly a freeze, so a look begins with what it can be at most, and counts only when that would lead
to a request:

- at first, everything stored that may be trained on and that the baseline does not hold
- after a count, and while people decided nothing else, that count and what was stored since
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.curator.datasets.domain.snapshot import Preview
from shared.events import Reason

SHARE_OF_TIME = 0.1
"""Counting takes at most this share of the monitor's time."""


@dataclass(frozen=True)
class Volume:
    """Pairs and labels of the training and validation splits; `exact` when counted, else no more than this."""

    pairs: int
    new_pairs: int
    new_labels: int
    exact: bool


@dataclass(frozen=True)
class Basis:
    """What a count rests on besides the evidence: it says nothing of another basis."""

    baseline: str | None
    """SHA-256 of the dataset against which things are new."""
    parent_version: str | None
    last_decision: int
    """Of people on what is in quarantine or contested."""


@dataclass(frozen=True)
class Count:
    """A count that was made, or a bound: of what, when, and how long it took; `sequence` is that of the last pair or
    label seen."""

    basis: Basis
    sequence: int
    volume: Volume
    at: datetime
    took: timedelta

    def is_due_again(self, now: datetime) -> bool:
        return now >= self.at + self.took / SHARE_OF_TIME


def count_new(preview: Preview, held: frozenset[str]) -> Volume:
    """Count what a dataset frozen now would hold, and what of it the baseline does not hold."""
    return Volume(len(preview.pairs), len(preview.pairs - held), len(preview.labels - held), exact=True)


def derive_bound(count: Count, stored_pairs: int, stored_labels: int) -> Volume:
    """Derive the most that there can be now from a count and what was stored since; exact if that is nothing."""
    volume = count.volume
    return Volume(
        volume.pairs + stored_pairs,
        volume.new_pairs + stored_pairs,
        volume.new_labels + stored_labels,
        exact=volume.exact and not stored_pairs and not stored_labels,
    )


def assess_volume(volume: Volume, threshold: int) -> tuple[str, Reason | None]:
    """Assess the volume: (summary, a reason once the new pairs reach the threshold)."""
    most = "" if volume.exact else "at most "
    summary = f"{most}{volume.new_pairs} new preference pairs since the last dataset (threshold {threshold})"
    with_labels = f"{summary}, {most}{volume.new_labels} new labels"
    if volume.new_pairs < threshold:
        return with_labels, None
    return with_labels, Reason(
        kind="volume", summary=summary, value=float(volume.new_pairs), threshold=float(threshold)
    )
