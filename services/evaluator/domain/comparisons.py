"""Blind comparisons: every prompt is judged twice, with the sides swapped the second time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.domain.win_rate import Vote
from shared.events import Message


@dataclass(frozen=True)
class ComparisonDraft:
    """`position` is the place in the order of offering. Equal answers are a tie that nobody needs to be asked for."""

    prompt_hash: str
    messages: list[Message]
    left: str
    right: str
    candidate_is_left: bool
    position: int

    @property
    def settled(self) -> Vote | None:
        return "tie" if self.left.strip() == self.right.strip() else None


def derive_comparisons(
    prompts: Sequence[GatePrompt], champion: Mapping[str, str], candidate: Mapping[str, str], seed: str
) -> list[ComparisonDraft]:
    """Derive two comparisons for each prompt that both models answered, answers by prompt hash.

    The seed draws which side the candidate takes first and the order of offering: all first looks come before all
    second ones, which keeps the two looks at one prompt far apart.
    """
    answered = [prompt for prompt in prompts if prompt.prompt_hash in champion and prompt.prompt_hash in candidate]
    drafts: list[ComparisonDraft] = []
    for look in range(2):
        for prompt in sorted(answered, key=lambda prompt: _draw(seed, str(look), prompt.prompt_hash)):
            drawn_left = _draw(seed, "side", prompt.prompt_hash)[0] % 2 == 0
            is_left = drawn_left if look == 0 else not drawn_left
            sides = candidate[prompt.prompt_hash], champion[prompt.prompt_hash]
            left, right = sides if is_left else reversed(sides)
            drafts.append(
                ComparisonDraft(prompt.prompt_hash, prompt.messages, left, right, is_left, position=len(drafts))
            )
    return drafts


def _draw(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()
