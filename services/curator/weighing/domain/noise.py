"""Probabilities of being wrong: how they add up, how they are rounded, and what an old model version adds."""

from collections.abc import Iterable, Mapping

LARGEST_EPSILON = 0.5
DECIMALS = 4
"""Of every figure that reaches a dataset: far coarser than what two machines may differ in."""


def combine_errors(one: float, other: float) -> float:
    """Wrong with probability `one`, then turned round with probability `other`, independently."""
    return min(one * (1 - other) + other * (1 - one), LARGEST_EPSILON)


def remove_error(combined: float, known: float) -> float:
    """What has to be combined with `known` (below 1/2) to give `combined`; 0 if `combined` is smaller."""
    return min(max((combined - known) / (1 - 2 * known), 0.0), LARGEST_EPSILON)


def round_figure(value: float) -> float:
    return round(value, DECIMALS)


STALENESS_PER_VERSION = 0.01
LARGEST_STALENESS = 0.1


def calculate_staleness(versions: Iterable[str], ages: Mapping[str, int]) -> float:
    """The probability that a judgement of these writers' answers no longer holds: 1% for each version in between."""
    return min(
        STALENESS_PER_VERSION * max((ages.get(version, 0) for version in versions), default=0), LARGEST_STALENESS
    )


def calculate_ages(parent: str, parents: Mapping[str, str]) -> dict[str, int]:
    """Model versions between each known version and `parent`: the way up to their common ancestor, and down again.

    `parents` says which version each was trained from.
    """
    above = _list_ancestors(parent, parents)
    depth = {version: steps for steps, version in enumerate(above)}
    ages = dict(depth)
    for version in parents:
        way = _list_ancestors(version, parents)
        ages[version] = next((steps + depth[at] for steps, at in enumerate(way) if at in depth), len(above))
    return ages


def _list_ancestors(version: str, parents: Mapping[str, str]) -> list[str]:
    """The version itself, its parent, and so on; a circle is left where it closes."""
    way = [version]
    while (above := parents.get(way[-1])) is not None and above not in way:
        way.append(above)
    return way
