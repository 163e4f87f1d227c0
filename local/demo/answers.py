"""The answers that are compared on held-out prompts: what the users say of them, and what they look like together."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from local.demo.approval import PairedApproval, Rate, Rise, calculate_rate, calculate_rise
from local.simulation.prompts import Question
from local.simulation.users import is_approved


@dataclass(frozen=True)
class Contestant:
    """A version that answers, with an instruction in the prompt or without."""

    version: str
    instruction: str | None = None


@dataclass(frozen=True)
class Answered:
    """A held-out prompt and each contestant's answer, by the contestant's name."""

    question: Question
    texts: dict[str, str]

    def is_liked(self, name: str) -> bool:
        return is_approved(self.question, self.texts[name])


def calculate_rise_between(answered: Sequence[Answered], before: str, after: str) -> Rise:
    """Return the rise of approval from one contestant to another, on the same prompts."""
    return calculate_rise(
        [PairedApproval(each.question.template, each.is_liked(before), each.is_liked(after)) for each in answered]
    )


def calculate_rate_of(answered: Sequence[Answered], name: str) -> Rate:
    return calculate_rate([(each.question.template, each.is_liked(name)) for each in answered])


def calculate_mean_words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


def calculate_distinct_2(texts: Sequence[str]) -> float:
    """Return different pairs of neighbouring words as a share of all of them (distinct-2, Li et al. 2016); 0 without
    any.
    """
    pairs = [pair for text in texts for pair in itertools.pairwise(text.lower().split())]
    return len(set(pairs)) / len(pairs) if pairs else 0.0
