"""Which prompts are trained on, and which are held out: by region, so that no near copy crosses the line."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from services.curator.cells.adapters.universal_sentence_encoder import DIMENSIONS
from services.curator.cells.domain.near_gate import NearGate, find_near_gate
from services.curator.cells.domain.placement import Anchors, Unplaced, place
from services.curator.cells.domain.splits import Split, order_by_hash
from services.curator.cells.handlers import embed_prompts
from services.curator.cells.ports import Embedder
from services.curator.cells.repository import AskedPrompt
from services.curator.pairs.domain.wording import derive_language
from services.curator.weighing.domain.history import PairEvidence
from shared.conversation import Conversation, derive_question

MOST_PROMPTS = 20_000
"""Placed in regions; of more, those with feedback come first, in an order that nobody chose."""
MOST_UNTOLD = 500
"""Prompts without feedback, which only may be held out: they cost an embedding each."""
REWARD_SHARE = 0.4
"""Of the training pairs that a reward model gets, and the policy does not."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Splits:
    """Where each prompt is; `near` are those of training that are too near to one that is held out."""

    cells: Mapping[str, str]
    splits: Mapping[str, Split]
    languages: Mapping[str, str]
    near: NearGate

    def select(self, split: Split) -> list[str]:
        return [key for key, own in self.splits.items() if own == split]


def choose_prompts(told: Sequence[str], others: Sequence[str]) -> list[str]:
    """Choose which prompts are placed: those with feedback first, and some others."""
    first = sorted(told, key=_draw)[:MOST_PROMPTS]
    return first + sorted(others, key=_draw)[: min(MOST_UNTOLD, MOST_PROMPTS - len(first))]


def _draw(prompt_hash: str) -> bytes:
    return sha256(f"try:{prompt_hash}".encode()).digest()


def split_prompts(conversations: Mapping[str, Conversation], embedder: Embedder) -> Splits:
    """Split prompts as the curator does: 70% to train, 10% to validate, 20% held out, a region of prompts whole.

    What is trained on and yet has a cosine too near to a held-out prompt is named, to be left out.
    """
    hashes = list(conversations)
    vectors = embed_prompts([AskedPrompt(key, conversations[key].messages) for key in hashes], embedder)
    nothing = Anchors([], [], np.zeros(0, np.float32), np.zeros((0, DIMENSIONS), np.float32), {})
    placed = place([Unplaced(key) for key in hashes], vectors, nothing, {}, embedder.version).prompts
    questions = {key: derive_question(conversations[key].messages) for key in hashes}
    languages = {key: derive_language(text) or UNKNOWN for key, text in questions.items()}
    rows = [at for at, key in enumerate(hashes) if placed[key][1] != "gate"]
    gate = [at for at, key in enumerate(hashes) if placed[key][1] == "gate"]
    kept = [hashes[at] for at in rows]
    near = find_near_gate(kept, vectors[rows], [languages[key] for key in kept], vectors[gate])
    cells = {key: placed[key][0] for key in hashes}
    return Splits(cells, {key: placed[key][1] for key in hashes}, languages, near)


def choose_reward_cells(rows: Mapping[str, int]) -> frozenset[str]:
    """Choose the training cells, each with its number of pairs, whose pairs a reward model gets."""
    wanted, chosen, taken = REWARD_SHARE * sum(rows.values()), set[str](), 0
    for cell in reversed(order_by_hash(rows)):
        if taken + rows[cell] / 2 <= wanted:
            chosen.add(cell)
            taken += rows[cell]
    return frozenset(chosen)


def take_turns(keys: Sequence[str], cells: Mapping[str, str]) -> list[str]:
    """Put keys, each of a cell, into an order in which every cell has its turn before one has its second."""
    turns: dict[str, int] = defaultdict(int)
    ranked = []
    for at, key in enumerate(keys):
        ranked.append((turns[cells[key]], at, key))
        turns[cells[key]] += 1
    return [key for *_, key in sorted(ranked)]


def choose_pairs(pairs: Sequence[PairEvidence], cells: Mapping[str, str], most: int) -> list[PairEvidence]:
    """Choose so many pairs at most, of as many regions as can be."""
    known = {pair.pair_id: pair for pair in sorted(pairs, key=lambda one: one.content)}
    turns = take_turns(list(known), {key: cells[pair.prompt_hash] for key, pair in known.items()})
    return [known[key] for key in turns[:most]]
