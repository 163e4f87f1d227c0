"""Gate prompts: which are used, in which order, and what their text is."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

from shared.events import Message


@dataclass(frozen=True)
class GatePrompt:
    """A prompt that training never sees; `cell` is its region of prompt space."""

    prompt_hash: str
    cell: str
    messages: list[Message]


def derive_text(message: Message) -> str:
    """The words of one message; of a list of parts, the textual ones."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return ""


def derive_question(messages: list[Message]) -> str:
    """The prompt without its boilerplate: everything but the system's messages."""
    return "\n".join(text for message in messages if message.get("role") != "system" if (text := derive_text(message)))


def choose_prompts(prompts: list[GatePrompt], count: int, seed: int) -> list[GatePrompt]:
    """Up to `count` prompts that ask something, the same ones for the same seed.

    Goes round the cells, so that near-copies within a cell come only after every cell had its turn.
    """
    asking = [prompt for prompt in prompts if derive_question(prompt.messages).strip()]
    drawn = sorted(asking, key=lambda prompt: hashlib.sha256(f"{seed}:{prompt.prompt_hash}".encode()).digest())
    turns: dict[str, int] = defaultdict(int)
    ordered: list[tuple[int, GatePrompt]] = []
    for prompt in drawn:
        ordered.append((turns[prompt.cell], prompt))
        turns[prompt.cell] += 1
    ordered.sort(key=lambda entry: entry[0])
    return [prompt for _, prompt in ordered[:count]]
