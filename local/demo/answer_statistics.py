"""What many answers look like together."""

import itertools
from collections.abc import Sequence


def calculate_mean_words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


def calculate_distinct_2(texts: Sequence[str]) -> float:
    """Different pairs of neighbouring words as a share of all of them (distinct-2, Li et al. 2016); 0 without any."""
    pairs = [pair for text in texts for pair in itertools.pairwise(text.lower().split())]
    return len(set(pairs)) / len(pairs) if pairs else 0.0
