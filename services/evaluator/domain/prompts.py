"""Gate prompts: which are used, in which order, and what their text is."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.conversation import Tool, derive_dialogue
from shared.events import Message


@dataclass(frozen=True)
class GatePrompt:
    """A prompt that training never sees; `cell` is its region of prompt space."""

    prompt_hash: str
    cell: str
    messages: list[Message]
    first_asked_at: datetime
    tools: list[Tool] = field(default_factory=list)


def choose_prompts(prompts: list[GatePrompt], count: int, seed: int) -> list[GatePrompt]:
    """Choose up to `count` prompts that ask something, the same ones for the same seed.

    Goes round the cells, so that near-copies within a cell come only after every cell had its turn.
    """
    asking = [prompt for prompt in prompts if derive_dialogue(prompt.messages).strip()]
    drawn = sorted(asking, key=lambda prompt: hashlib.sha256(f"{seed}:{prompt.prompt_hash}".encode()).digest())
    turns: dict[str, int] = defaultdict(int)
    ordered: list[tuple[int, GatePrompt]] = []
    for prompt in drawn:
        ordered.append((turns[prompt.cell], prompt))
        turns[prompt.cell] += 1
    ordered.sort(key=lambda entry: entry[0])
    return [prompt for _, prompt in ordered[:count]]


def find_renewal(uses: Sequence[datetime], uses_per_renewal: int) -> datetime | None:
    """Return when a cell was last renewed: at every so many evaluations that used it; None before the first time."""
    complete = len(uses) // uses_per_renewal * uses_per_renewal
    return sorted(uses)[complete - 1] if complete else None


def keep_fresh(
    prompts: list[GatePrompt], uses: Mapping[str, Sequence[datetime]], uses_per_renewal: int
) -> list[GatePrompt]:
    """Return the prompts that were first asked after their cell's last renewal.

    Each evaluation tells a little of what its prompts reward, to the people who read it and to the next candidate. So a
    cell that has been used often goes on with new prompts of the same region only, and the old ones are spent.
    """
    renewed = {cell: find_renewal(times, uses_per_renewal) for cell, times in uses.items()}
    return [
        prompt for prompt in prompts if (since := renewed.get(prompt.cell)) is None or prompt.first_asked_at > since
    ]
