"""Which topics grew, vanished or are new: what a person reads when prompts drift.

Half of the users, of both sides, find the topics (k-means); the other half tests them, one prompt a user, so that a
topic found by chance is not tested on what found it. A topic's share is held against the others less the one that
moved most: when one grows, the others do not shrink for it. The names are chosen so that of those named, over all
reports, quiet ones too, at most a tenth is wrong (Benjamini & Yekutieli 2001, who allow for any dependence).
"""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

TOPICS = 12
ROUNDS = 25
FALSE_DISCOVERIES = 0.1
EXAMPLES = 3
NEW_SHARE = 0.01
"""Below it a topic was not there, or is not any more."""


@dataclass(frozen=True)
class Topic:
    """A topic whose share changed; `examples` are places of its most typical prompts among the window's (if it grew)
    or the reference's."""

    change: Literal["new", "grew", "shrank", "vanished"]
    before: float
    after: float
    p_value: float
    examples: tuple[int, ...]

    def describe(self) -> dict[str, object]:
        return asdict(self)


def find_topics(reference: Vectors, window: Vectors, rng: np.random.Generator) -> list[Topic]:
    """Find the topics whose shares differ, the largest change first; rows are unit vectors, one a user."""
    finding = [rng.random(len(side)) < 0.5 for side in (reference, window)]
    found = np.concatenate([reference[finding[0]], window[finding[1]]])
    if len(found) < 2 * TOPICS:
        return []
    centres = cluster(found, TOPICS, rng)
    before, after = (np.argmax(side @ centres.T, axis=1) for side in (reference, window))
    counts = np.array(
        [np.bincount(places[~drawn], minlength=TOPICS) for places, drawn in zip((before, after), finding, strict=True)]
    )
    first = np.array([np.bincount(p[d], minlength=TOPICS) for p, d in zip((before, after), finding, strict=True)])
    p_values = compare_topics(counts, find_largest(first))
    kept = select(p_values, FALSE_DISCOVERIES)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    topics = [
        _describe(int(topic), shares[:, topic], float(p_values[topic]), (reference, window), (before, after), centres)
        for topic in np.flatnonzero(kept)
    ]
    return sorted(topics, key=lambda topic: -abs(topic.after - topic.before))


def cluster(points: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """Cluster unit vectors by their cosines (spherical k-means): centres, (count, d)."""
    centres = _spread(points, count, rng)
    for _ in range(ROUNDS):
        places = np.argmax(points @ centres.T, axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, places, points)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centres).astype(np.float32)
    return centres


def _spread(points: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """Draw centres to begin with, each the likelier the further from those before (k-means++)."""
    drawn = [int(rng.integers(len(points)))]
    while len(drawn) < count:
        far = np.maximum(1 - (points @ points[drawn].T).max(axis=1), 1e-9).astype(np.float64)
        drawn.append(int(rng.choice(len(points), p=far / far.sum())))
    return points[drawn].copy()


def find_largest(counts: npt.NDArray[np.int_]) -> int:
    """Find the topic whose share moved most: counts of (reference, window), (2, topics)."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return int(np.argmax(np.abs(shares[1] - shares[0])))


def compare_topics(counts: npt.NDArray[np.int_], largest: int) -> npt.NDArray[np.float64]:
    """Test each topic's odds against the others', the largest mover left out of those: two-sided p-values (Fisher)."""
    totals = counts.sum(axis=1)
    found = np.ones(counts.shape[1])
    for topic in range(counts.shape[1]):
        others = totals - counts[:, topic] - (counts[:, largest] if topic != largest else 0)
        found[topic] = stats.fisher_exact(np.column_stack([counts[:, topic], others])).pvalue
    return found


def select(p_values: npt.NDArray[np.float64], level: float) -> npt.NDArray[np.bool_]:
    """Select those of which at most this share is wrong on average, whatever their dependence."""
    n = len(p_values)
    order = np.argsort(p_values)
    limits = level * np.arange(1, n + 1) / n / (1 / np.arange(1, n + 1)).sum()
    below = np.flatnonzero(p_values[order] <= limits)
    kept = np.zeros(n, dtype=bool)
    if len(below):
        kept[order[: below[-1] + 1]] = True
    return kept


def _describe(
    topic: int,
    shares: npt.NDArray[np.float64],
    p_value: float,
    sides: tuple[Vectors, Vectors],
    places: tuple[Places, Places],
    centres: Vectors,
) -> Topic:
    before, after = map(float, shares)
    grew = after > before
    change: Literal["new", "grew", "shrank", "vanished"] = "grew" if grew else "shrank"
    if grew and before < NEW_SHARE:
        change = "new"
    elif not grew and after < NEW_SHARE:
        change = "vanished"
    side = int(grew)
    members = np.flatnonzero(places[side] == topic)
    nearest = members[np.argsort(-(sides[side][members] @ centres[topic]))][:EXAMPLES]
    return Topic(change, before, after, p_value, tuple(int(place) for place in nearest))
