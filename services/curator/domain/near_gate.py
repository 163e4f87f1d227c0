"""Training prompts that say nearly what a gate prompt says."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from services.curator.domain.text import derive_shingles

TOO_NEAR = 0.7


@dataclass(frozen=True)
class Prompting:
    """A prompt's words, as near-copies are looked for."""

    prompt_hash: str
    question: str


def find_near(prompts: Sequence[Prompting], gate: Sequence[Prompting]) -> frozenset[str]:
    """Hashes of the prompts whose word 3-shingles have a Jaccard similarity of 0.7 or more with some gate prompt's."""
    gate_shingles = [derive_shingles(prompt.question) for prompt in gate]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, shingles in enumerate(gate_shingles):
        for shingle in shingles:
            holders[shingle].append(number)
    near: set[str] = set()
    for prompt in prompts:
        shingles = derive_shingles(prompt.question)
        shared = Counter(number for shingle in shingles for number in holders.get(shingle, ()))
        if any(n >= TOO_NEAR * (len(shingles) + len(gate_shingles[at]) - n) for at, n in shared.items()):
            near.add(prompt.prompt_hash)
    return frozenset(near)
