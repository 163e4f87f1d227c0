"""The data report of a snapshot: what came in, what was kept, what was not and why, in figures and ids.

It holds nobody's words and nobody's name, so it may lie beside the dataset for ever. Whoever shows it looks up the
examples by their ids: what was erased since is then gone from it too.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

from services.curator.datasets.domain.snapshot import Snapshot
from services.curator.pairs.domain.wording import derive_language, derive_units
from services.curator.weighing.domain.curation import AnyWeighed
from services.curator.weighing.domain.history import History
from services.curator.weighing.domain.quarantine import Quarantine

EXAMPLES = 3
"""Of each reason."""
LARGEST = 20
"""Users and clusters shown one by one."""
EPSILON_BINS = 10
LARGEST_EPSILON = 0.5
LENGTHS = (0, 5, 10, 20, 40, 80, 160, 320, 640)
"""Lower ends of the bins, in words (in characters where no spaces divide words)."""


@dataclass(frozen=True)
class Intake:
    """What the tables held when the dataset was frozen."""

    interactions: int = 0
    feedback: Mapping[str, int] = field(default_factory=dict)
    """By type and state: `thumb`, or `thumb, parked`."""
    conflicting: int = 0
    """Second bodies under an id that was taken."""
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids of some of the pairs that were refused for their quality, by reason."""
    cells: Mapping[str, str] = field(default_factory=dict)
    """The cell of each prompt, by its hash."""


def derive_report(
    snapshot: Snapshot, history: History, quarantine: Quarantine, refused: Mapping[str, int], intake: Intake
) -> dict[str, Any]:
    """Derive the report as JSON; the same for the same evidence."""
    return {
        "came_in": {
            "interactions": intake.interactions,
            "feedback": dict(sorted(intake.feedback.items())),
            "conflicting": intake.conflicting,
        },
        "not_kept": [
            *_describe_reasons("refused", refused, intake.refused),
            *_describe_reasons("left_out", *_gather(snapshot.left_out)),
            *_describe_reasons("quarantine", *_gather({str(key): why for key, why in quarantine.waiting.items()})),
        ],
        "epsilon": {
            "pairs": count_epsilon(snapshot.pairs),
            "labels": count_epsilon(snapshot.labels),
        },
        "users": asdict(measure_concentration(_count_holders(snapshot, history).values())),
        "clusters": asdict(measure_concentration(_count_cells(snapshot, intake.cells).values())),
        "lengths": {
            "from": list(LENGTHS),
            "chosen": count_lengths(pair.item.chosen for pair in snapshot.pairs),
            "rejected": count_lengths(pair.item.rejected for pair in snapshot.pairs),
        },
        "languages": dict(
            sorted(Counter(derive_language(pair.item.chosen) or "unknown" for pair in snapshot.pairs).items())
        ),
    }


def _gather(reasons: Mapping[str, str]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Gather (how many ids, which) by reason."""
    ids: dict[str, list[str]] = {}
    for key, reason in sorted(reasons.items()):
        ids.setdefault(reason, []).append(key)
    return {reason: len(found) for reason, found in ids.items()}, ids


def _describe_reasons(stage: str, counts: Mapping[str, int], ids: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [
        {"stage": stage, "reason": reason, "count": count, "examples": list(ids.get(reason, ()))[:EXAMPLES]}
        for reason, count in sorted(counts.items())
    ]


def count_epsilon(weighed: Sequence[AnyWeighed]) -> list[int]:
    """Count rows by epsilon, in bins of equal width from 0 to 1/2."""
    counts = [0] * EPSILON_BINS
    for one in weighed:
        counts[min(int(one.epsilon / LARGEST_EPSILON * EPSILON_BINS), EPSILON_BINS - 1)] += 1
    return counts


def count_lengths(texts: Iterable[str]) -> list[int]:
    counts = [0] * len(LENGTHS)
    for text in texts:
        units = len(derive_units(text))
        counts[max(at for at, least in enumerate(LENGTHS) if units >= least)] += 1
    return counts


@dataclass(frozen=True)
class Concentration:
    """How rows are spread over users, or over clusters of prompts. None of them is named."""

    count: int
    largest: list[int]
    """Rows of the largest ones, in descending order."""
    rows: int
    half: int
    """So few of them hold half of the rows."""


def measure_concentration(sizes: Iterable[int]) -> Concentration:
    in_order = sorted(sizes, reverse=True)
    rows = sum(in_order)
    half = sum(held * 2 < rows for held in accumulate(in_order)) + 1 if rows else 0
    return Concentration(len(in_order), in_order[:LARGEST], rows, half)


def _count_holders(snapshot: Snapshot, history: History) -> Counter[str]:
    """Count rows by user; the anonymous callers of an API key are one."""
    return Counter(holder for one in snapshot.everything for holder in history.list_holders(one.item.evidence))


def _count_cells(snapshot: Snapshot, cells: Mapping[str, str]) -> Counter[str]:
    return Counter(cells.get(one.item.prompt_hash, "unknown") for one in snapshot.everything)
