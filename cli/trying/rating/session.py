"""One person's comparisons: in an order and on sides that nobody chose, until they have decided."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cli.trying.answering import Answers
from cli.trying.splitting import Splits
from cli.trying.verdicts import LEAST_UNITS, Measure, estimate_in_order, has_decided
from shared.conversation import Conversation, derive_text

Vote = Literal["left", "right", "tie"]
MOST_LOOKS = 60
NAME = "your own rating, blind"


@dataclass
class Session:
    """What is shown, and what was said of it so far: the new model's score of each look, by prompt hash."""

    prompts: Sequence[str]
    conversations: Mapping[str, Conversation]
    answers: Answers
    seed: str
    scores: dict[str, float] = field(default_factory=dict)
    is_ended: bool = False

    @property
    def is_over(self) -> bool:
        """Say whether nothing is left to ask, or asking is of no use: too few looks cannot decide."""
        if self.is_ended or len(self.prompts) < LEAST_UNITS:
            return True
        return len(self.scores) == len(self.prompts) or has_decided(list(self.scores.values()))

    def show(self) -> dict[str, Any]:
        """Show the next comparison, without who wrote what; or that it is over."""
        told: dict[str, Any] = {"done": len(self.scores), "most": len(self.prompts), "over": self.is_over}
        if self.is_over:
            return told
        key = self.prompts[len(self.scores)]
        sides = [self.answers.new[key], self.answers.old[key]]
        left, right = sides if self.is_new_left(key) else reversed(sides)
        turns = [{"role": each.get("role", ""), "text": derive_text(each)} for each in self.conversations[key].messages]
        return told | {"turns": turns, "left": left, "right": right}

    def is_new_left(self, key: str) -> bool:
        return hashlib.sha256(f"{self.seed}:{key}".encode()).digest()[0] % 2 == 0

    def take(self, number: int, vote: Vote) -> None:
        """Take a vote on the comparison of that number, from 0; one on another than the next is heard already."""
        if number != len(self.scores) or self.is_over:
            return
        key = self.prompts[number]
        won = {"left": 1.0, "right": 0.0, "tie": 0.5}[vote]
        self.scores[key] = won if self.is_new_left(key) else 1 - won

    def measure(self) -> Measure:
        """Measure what this one person prefers; each look is of a region of its own."""
        if len(self.prompts) < LEAST_UNITS:
            told = f"in only {len(self.prompts)} regions of prompts do both models answer differently"
            return Measure("rating", NAME, None, failure=f"{told}, and fewer than {LEAST_UNITS} cannot decide")
        found = estimate_in_order(list(self.scores.values()))
        return Measure("rating", NAME, found, failure=None if found else "nothing was rated")


def choose_looks(answers: Answers, splits: Splits, seed: str) -> list[str]:
    """Choose what is compared: of each region one prompt to which both say something different.

    Prompts of one region lean together: two looks at it would count as two pieces of evidence, and are one.
    """
    differing = [key for key in answers.both if answers.new[key].strip() != answers.old[key].strip()]
    drawn = sorted(differing, key=lambda key: hashlib.sha256(f"{seed}:look:{key}".encode()).digest())
    first = {splits.cells[key]: key for key in reversed(drawn)}
    return [key for key in drawn if first[splits.cells[key]] == key][:MOST_LOOKS]
