"""What of a conversation says what is asked: its question, with as much of the turns before as it needs."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from shared.conversation import derive_dialogue, derive_text
from shared.events import Message

TURNS = 3
FADING = 0.5
"""A turn counts half as much as the next."""
SELF_CONTAINED_BYTES = 40
"""Of UTF-8: a shorter turn ("continue") says little, and leaves what it does not say to the turns before it."""
HEAD_CHARACTERS = 1_500
TAIL_CHARACTERS = 500


class Turn(NamedTuple):
    text: str
    weight: float


def derive_turns(messages: Sequence[Message]) -> list[Turn]:
    """Derive up to three user turns, the last first, each with its weight; of no user turn, the whole dialogue.

    Long turns are cut in their middle: what embedding costs is bounded.
    """
    asked = (derive_text(message) for message in reversed(messages) if message.get("role") == "user")
    turns, left = [], 1.0
    for text in islice((text for text in asked if text.strip()), TURNS):
        said = min(len(text.encode(errors="replace")) / SELF_CONTAINED_BYTES, 1.0)
        turns.append(Turn(_cut(text), left * said))
        left *= 1 - said * FADING
    return turns or [Turn(_cut(derive_dialogue(messages)), 1.0)]


def _cut(text: str) -> str:
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return f"{text[:HEAD_CHARACTERS]} {text[-TAIL_CHARACTERS:]}"
