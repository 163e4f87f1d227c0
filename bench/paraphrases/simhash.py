"""The cells of before: SimHash (Charikar 2002) of words and word pairs, 64 cells in order of their hashes."""

from collections import Counter
from functools import cache
from hashlib import sha256
from itertools import pairwise

from shared.conversation import derive_words

BITS = 6


def derive_simhash_split(text: str) -> str:
    """Derive the split that a question had before cells had anchors."""
    share = _rank_cells()[_derive_code(text)] / 2**BITS
    return "train" if share < 0.7 else "validation" if share < 0.8 else "gate"


def _derive_code(text: str) -> int:
    words = derive_words(text)
    features = words + [f"{one} {two}" for one, two in pairwise(words)]
    counts = Counter(sha256(feature.encode("utf-8", "surrogatepass")).digest()[0] % 2**BITS for feature in features)
    return sum(
        (2 * sum(n for low, n in counts.items() if low >> bit & 1) > len(features)) << bit for bit in range(BITS)
    )


@cache
def _rank_cells() -> dict[int, int]:
    names = {code: sha256(f"split:simhash-v1-{code:02x}".encode()).digest() for code in range(2**BITS)}
    return {code: rank for rank, code in enumerate(sorted(names, key=names.__getitem__))}
