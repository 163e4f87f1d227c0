"""What a curator made of a story, held against the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from bench.data.story import Sides, Story
from bench.data.worlds import ADVERT, FILLERS
from bench.noise.model import Rows, measure_accuracy

BINS = 10
COIN = 0.5
"""A dataset without rows teaches nothing."""
CAPPED = frozenset({"user_cap", "prompt_cap", "copy_cap", "group_cap"})


@dataclass(frozen=True)
class Outcome:
    """A dataset's training pairs, and the events that were set aside for people or beyond a cap."""

    rows: Sequence[tuple[Sides, float, tuple[UUID, ...]]]
    """(sides, epsilon, evidence)."""
    waiting: frozenset[UUID]
    capped: frozenset[UUID]


@dataclass(frozen=True)
class Measured:
    """Of one story and one curator. `epsilon` and `wrong` are of each row of the dataset."""

    figures: Mapping[str, float]
    epsilon: Sequence[float]
    wrong: Sequence[bool]


def measure_ends(story: Story) -> dict[str, float]:
    """Measure the raw dataset, of all that was said, and the oracle's, of what honest users said."""
    raw = [(sides, 1.0) for sides, _ in story.pairs]
    oracle = [(sides, 1.0) for sides, honest in story.pairs if honest]
    return {
        f"{name}, {measure}": value
        for name, rows in (("raw", raw), ("oracle", oracle))
        for measure, value in _judge(story, rows).items()
    }


def measure(story: Story, outcome: Outcome) -> Measured:
    """Measure one curator's dataset."""
    figures = _judge(story, [(sides, 1 - 2 * epsilon) for sides, epsilon, _ in outcome.rows])
    aside = outcome.waiting | outcome.capped
    figures["honest set aside"] = len(story.honest & aside) / len(story.honest)
    if story.colluding:
        held = {event_id for *_, evidence in outcome.rows for event_id in evidence}
        figures["colluding kept"] = len(story.colluding & held) / len(story.colluding)
        weights = [(1 - 2 * epsilon, not story.colluding.isdisjoint(evidence)) for _, epsilon, evidence in outcome.rows]
        total = sum(weight for weight, _ in weights)
        figures["colluding weight"] = sum(weight for weight, theirs in weights if theirs) / total if total else 0.0
    epsilon = [epsilon for _, epsilon, _ in outcome.rows]
    wrong = [not story.truth[sides] for sides, *_ in outcome.rows]
    return Measured(figures | {"calibration error": calculate_ece(epsilon, wrong)}, epsilon, wrong)


def _judge(story: Story, rows: Sequence[tuple[Sides, float]]) -> dict[str, float]:
    if not rows:
        return {"correct pairs": COIN, "accuracy": COIN}
    weights = np.array([weight for _, weight in rows])
    right = np.array([story.truth[sides] for sides, _ in rows])
    texts: Rows = [(sides[1], sides[2], weight) for sides, weight in rows]
    words = [*story.writer.vocabulary, *ADVERT, *FILLERS]
    accuracy = measure_accuracy(texts, story.held_out, story.writer.words.__getitem__, words)
    return {"correct pairs": float(weights @ right / weights.sum()), "accuracy": accuracy}


def calculate_ece(epsilon: Sequence[float], wrong: Sequence[bool]) -> float:
    """Calculate the expected calibration error of epsilon, over ten bins of equal width from 0 to 1/2.

    It is the mean distance of a bin's mean epsilon from its share of wrong pairs, each bin counting for its pairs.
    """
    if not epsilon:
        return 0.0
    values, truths = np.array(epsilon), np.array(wrong, np.float64)
    place = np.minimum((values * 2 * BINS).astype(int), BINS - 1)
    gaps = [abs(values[place == at].sum() - truths[place == at].sum()) for at in range(BINS)]
    return float(sum(gaps) / len(values))
