"""How much a model's answers to different prompts are alike."""

from collections import Counter
from collections.abc import Sequence
from math import exp, log

from services.evaluator.domain.measures.texts import split_units

ORDERS = 4

Gram = tuple[str, ...]


def calculate_distinct(answers: Sequence[str], order: int = 2) -> float | None:
    """Return distinct-n (Li et al., NAACL 2016): the share of all n-grams that differ; None without any."""
    grams = [gram for answer in answers for gram in _derive_grams(split_units(answer), order)]
    return len(set(grams)) / len(grams) if grams else None


def calculate_self_bleu(answers: Sequence[str]) -> list[float]:
    """Return each answer's BLEU-4 against all others as references (Zhu et al., SIGIR 2018), smoothed, without
    brevity penalty: among many references one is always short enough. An answer of no words scores 0.
    """
    units = [split_units(answer) for answer in answers]
    logs = [0.0] * len(answers)
    for order in range(1, ORDERS + 1):
        counted = [Counter(_derive_grams(each, order)) for each in units]
        most = _find_most(counted)
        for place, own in enumerate(counted):
            shared = sum(min(count, most[gram][own_is_most]) for gram, count, own_is_most in _compare(own, most))
            logs[place] += log((shared + 0.1) / (own.total() + 0.1)) / ORDERS
    return [exp(value) if unit else 0.0 for value, unit in zip(logs, units, strict=True)]


def _derive_grams(units: Sequence[str], order: int) -> list[Gram]:
    return [tuple(units[start : start + order]) for start in range(len(units) - order + 1)]


def _find_most(counted: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int]]:
    """Return how often a gram stands in the answer with most of it, and in the one with second most."""
    most: dict[Gram, tuple[int, int]] = {}
    for own in counted:
        for gram, count in own.items():
            first, second = most.get(gram, (0, 0))
            most[gram] = (count, first) if count > first else (first, max(second, count))
    return most


def _compare(own: Counter[Gram], most: dict[Gram, tuple[int, int]]) -> list[tuple[Gram, int, bool]]:
    """Pair each gram with which of its two counts is another answer's: the second, if the first is its own."""
    return [(gram, count, count == most[gram][0]) for gram, count in own.items()]
