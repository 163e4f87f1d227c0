"""The answers that are compared on held-out prompts, and what the users say of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from local.demo.approval import PairedApproval, Rate, Rise, calculate_rate, calculate_rise
from local.demo.prompts import Question
from local.demo.users import is_approved


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
    """The rise of approval from one contestant to another, on the same prompts."""
    return calculate_rise(
        [PairedApproval(each.question.template, each.is_liked(before), each.is_liked(after)) for each in answered]
    )


def calculate_rate_of(answered: Sequence[Answered], name: str) -> Rate:
    return calculate_rate([(each.question.template, each.is_liked(name)) for each in answered])
