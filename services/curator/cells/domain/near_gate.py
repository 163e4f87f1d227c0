"""Which prompts are too near to the gate to be trained on: by language, for as many gate prompts as there are."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.curator.cells.domain.placement import CUT
from services.curator.cells.domain.vectors import DIGITS, Vectors, find_nearest

MOST_UNRELATED = 0.05
"""Share of the unrelated prompts of a language that may be left out: some gate prompt or other is always near."""
MOST_RELATED = 0.1
"""Share of the prompts that may be related to one in the gate without more of the unrelated being left out."""
LEAST_PROMPTS = 40
"""Languages with fewer share one threshold."""
FEW = "other"
SURELY_NEAR = 0.95
"""Left out, however many there are."""


@dataclass(frozen=True)
class NearGate:
    """What is too near, and how that was measured."""

    prompts: frozenset[str]
    """Hashes of what is left out."""
    thresholds: Mapping[str, float]
    """Cosine with the nearest gate prompt from which a prompt is left out, by language."""
    measured_on: Mapping[str, int]
    gate_prompts: int


def find_near_gate(prompt_hashes: Sequence[str], vectors: Vectors, languages: Sequence[str], gate: Vectors) -> NearGate:
    """Find the prompts too near to the gate's: each a row of `vectors` and a language.

    Related prompts share a cell, so that nearly all of those outside the gate are related to none in it. The threshold
    is the similarity that at most 5% of these reach, but no lower than that from which two questions are taken for one.
    """
    nearest = [round(float(value), DIGITS) for value in find_nearest(vectors, gate)]
    count = Counter(languages)
    grouped: dict[str, list[int]] = defaultdict(list)
    for at, language in enumerate(languages):
        grouped[language if count[language] >= LEAST_PROMPTS else FEW].append(at)
    thresholds = {name: _calculate_threshold([nearest[at] for at in rows]) for name, rows in grouped.items()}
    near = {prompt_hashes[at] for name, rows in grouped.items() for at in rows if nearest[at] >= thresholds[name]}
    sizes = {name: len(rows) for name, rows in sorted(grouped.items())}
    return NearGate(frozenset(near), dict(sorted(thresholds.items())), sizes, len(gate))


def _calculate_threshold(nearest: list[float]) -> float:
    """Calculate the least similarity that at most 5% of those of these reach that are related to none in the gate."""
    allowed = math.floor(MOST_UNRELATED * (1 - MOST_RELATED) * len(nearest))
    highest = sorted(nearest, reverse=True)
    beyond = next((value for value in highest[:allowed][::-1] if value > highest[allowed]), math.inf)
    return round(min(max(beyond, CUT), SURELY_NEAR), DIGITS)
