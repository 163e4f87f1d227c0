"""Where a prompt belongs: its cell, and the split of that cell."""

from collections import Counter
from functools import cache, lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import Literal

from shared.conversation import derive_question, derive_words
from shared.events import Message

Split = Literal["train", "validation", "gate"]

SPLITTING_VERSION = 1
BITS = 6
"""64 cells: enough for the quotas to come out, few enough for a prompt and its variants to meet often."""
TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.10
"""The rest, 0.20, is for the gate."""


def derive_cell(messages: list[Message]) -> str:
    """Derive the SimHash cell (Charikar 2002) of the last user message from its words and word pairs.

    Stable for ever: another recipe gets another version, and so other names.
    """
    words = derive_words(derive_question(messages))
    features = words + [f"{one} {two}" for one, two in pairwise(words)]
    counts = Counter(map(_hash_feature, features))
    code = 0
    for bit in range(BITS):
        ones = sum(count for low, count in counts.items() if low >> bit & 1)
        code |= (2 * ones > len(features)) << bit
    return _name_cell(code)


@lru_cache(100_000)
def _hash_feature(feature: str) -> int:
    first: int = sha256(feature.encode("utf-8", "surrogatepass")).digest()[0]
    return first & ((1 << BITS) - 1)


def derive_split(cell: str) -> Split:
    """Derive the split of a cell: the cells are ordered by their hashes and cut at the quotas."""
    share = _rank_cells()[cell] / 2**BITS
    if share < TRAIN_SHARE:
        return "train"
    return "validation" if share < TRAIN_SHARE + VALIDATION_SHARE else "gate"


@cache
def _rank_cells() -> dict[str, int]:
    cells = [_name_cell(code) for code in range(2**BITS)]
    return {cell: rank for rank, cell in enumerate(sorted(cells, key=_hash_cell))}


def _name_cell(code: int) -> str:
    return f"simhash-v{SPLITTING_VERSION}-{code:02x}"


def _hash_cell(cell: str) -> bytes:
    return sha256(f"split:{cell}".encode()).digest()
