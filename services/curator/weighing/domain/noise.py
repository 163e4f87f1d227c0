"""Probabilities of being wrong: how they add up, how they are rounded, and what an old model version adds."""

from collections.abc import Iterable, Mapping

LARGEST_EPSILON = 0.5
DECIMALS = 4
"""Of every figure that reaches a dataset: far coarser than what two machines may differ in."""


def combine_errors(one: float, other: float) -> float:
    """Combine two independent errors: wrong with probability `one`, then reversed with probability `other`."""
    return min(one * (1 - other) + other * (1 - one), LARGEST_EPSILON)


def round_figure(value: float) -> float:
    return round(value, DECIMALS)


STALENESS_PER_VERSION = 0.01
LARGEST_STALENESS = 0.1


def calculate_staleness(versions: Iterable[str], ages: Mapping[str, int]) -> float:
    """Calculate the probability that a judgement no longer holds: 1% for each model version in between."""
    return min(
        STALENESS_PER_VERSION * max((ages.get(version, 0) for version in versions), default=0), LARGEST_STALENESS
    )


def calculate_ages(parent: str, parents: Mapping[str, str]) -> dict[str, int]:
    """Count model versions between each version and `parent`: up to their common ancestor and down again.

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
    """List the version itself, its parent, and so on, until there is none or it would repeat."""
    way = [version]
    while (above := parents.get(way[-1])) is not None and above not in way:
        way.append(above)
    return way
