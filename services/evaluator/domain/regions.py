"""What counts as one piece of evidence: a region of prompts, whose answers are good and bad together."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

LEAST_REGIONS = 20
"""Of fewer regions no interval of a mean can be trusted."""


@dataclass(frozen=True)
class Units:
    """Answers shared out among units of evidence: for each unit the places of its answers."""

    places: Sequence[Sequence[int]]
    told: str = ""
    """For whom they speak, where that is not for all that users ask."""

    def __len__(self) -> int:
        return len(self.places)

    def add(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each unit's values."""
        return [sum(values[place] for place in own) for own in self.places]

    def average(self, values: Sequence[float]) -> list[float]:
        """Return the mean of each unit's values."""
        return [total / len(own) for total, own in zip(self.add(values), self.places, strict=True)]


def derive_units(count: int, regions: Sequence[Hashable], least: int = LEAST_REGIONS) -> Units:
    """Share `count` answers out by their prompts' regions, in the same order; without regions each is one of its own.

    Fewer regions than `least` could show nothing of what users ask elsewhere. Then each answer is a unit, and the
    result speaks for these regions only.
    """
    each = [[place] for place in range(count)]
    if not regions:
        return Units(each)
    places: dict[Hashable, list[int]] = {}
    for place, region in enumerate(regions):
        places.setdefault(region, []).append(place)
    if len(places) == count or len(places) >= least:
        return Units(list(places.values()))
    return Units(each, f" (for these {len(places)} regions of prompts only: {least} would speak for others)")
