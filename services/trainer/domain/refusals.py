"""Rows that cannot be trained on: why not, and when they are too many."""

from collections.abc import Mapping
from typing import Literal

Refusal = Literal["unrenderable", "no_room", "no_answer", "too_long", "same_answers"]
Refusals = Mapping[str, int]
"""Refused rows by reason; rows that are fine are not in it."""

MEANINGS: Mapping[Refusal, str] = {
    "unrenderable": "the chat template cannot render",
    "no_room": "leave no room for an answer",
    "no_answer": "hold no answer to learn",
    "too_long": "are longer than that",
    "same_answers": "hold the same answer twice",
}
"""What is wrong with such rows, to be read behind the number of them."""

REMEDIES: Mapping[Refusal, str] = {
    **dict.fromkeys(MEANINGS, "raise max_length, or leave it out, and it follows from the data"),
    "unrenderable": "take a base whose chat template renders them",
    "no_answer": "look at the data: most of what it holds is empty",
}

MAX_SHARE = 0.2


def count_refused(refusals: Refusals) -> int:
    """Count the rows of all reasons."""
    return sum(refusals.values())


def describe_refusals(refusals: Refusals) -> str:
    """Describe what is wrong, the commonest first."""
    ordered = sorted(refusals.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {MEANINGS.get(reason, reason)}" for reason, count in ordered)  # type: ignore[call-overload]


def assess_refusals(kept: int, refusals: Refusals, length: int) -> str | None:
    """Say what to change when more than a fifth of the rows cannot be trained on; None: so many are fine.

    `length`: tokens that a row may have.
    """
    refused = count_refused(refusals)
    total = kept + refused
    if refused <= MAX_SHARE * total:
        return None
    commonest: Refusal = max(MEANINGS, key=lambda reason: refusals.get(reason, 0))
    return (
        f"{refused} of {total} rows ({refused / total:.0%}) cannot be trained on within max_length {length}: "
        f"{describe_refusals(refusals)}; {REMEDIES[commonest]}"
    )
