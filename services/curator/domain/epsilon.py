"""Probabilities of being wrong: how they add up, and where they end."""

LARGEST = 0.5
DECIMALS = 4
"""Of every figure that reaches a dataset: far coarser than what two machines may differ in."""


def combine(one: float, other: float) -> float:
    """Wrong with probability `one`, then turned round with probability `other`, independently."""
    return min(one * (1 - other) + other * (1 - one), LARGEST)


def remove(combined: float, known: float) -> float:
    """What has to be combined with `known` (below 1/2) to give `combined`; 0 if `combined` is smaller."""
    return min(max((combined - known) / (1 - 2 * known), 0.0), LARGEST)


def round_figure(value: float) -> float:
    return round(value, DECIMALS)
