"""Texts that are nearly the same."""

from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH

from shared.conversation import derive_words

SHINGLE_WORDS = 3
SIMILAR = 0.8
PERMUTATIONS = 64
SEED = 1

Shingles = frozenset[tuple[str, ...]]


def derive_shingles(text: str) -> Shingles:
    """Derive every run of three words; of a shorter text, all its words as one."""
    words = derive_words(text)
    if len(words) < SHINGLE_WORDS:
        return frozenset([tuple(words)]) if words else frozenset()
    return frozenset(tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1))


def find_near_duplicates(texts: Sequence[str], least_words: int) -> list[list[int]]:
    """Find groups of two or more texts (as positions), each near-identical with the group's first.

    The first of a group is the first in the order of the texts themselves, so that no group depends on how they came.
    """
    shingles = {at: derive_shingles(text) for at, text in enumerate(texts) if len(derive_words(text)) >= least_words}
    index = MinHashLSH(threshold=SIMILAR, num_perm=PERMUTATIONS)
    sketches = {at: _sketch(found) for at, found in shingles.items()}
    for at, sketch in sketches.items():
        index.insert(at, sketch)
    groups: list[list[int]] = []
    taken: set[int] = set()
    for at in sorted(shingles, key=lambda at: (texts[at], at)):
        if at in taken:
            continue
        alike = [
            other
            for other in sorted(index.query(sketches[at]))
            if other not in taken and _calculate_jaccard(shingles[at], shingles[other]) >= SIMILAR
        ]
        taken.update(alike)
        if len(alike) > 1:
            groups.append(alike)
    return groups


def _sketch(shingles: Shingles) -> MinHash:
    sketch = MinHash(num_perm=PERMUTATIONS, seed=SEED)
    sketch.update_batch([" ".join(shingle).encode("utf-8", "surrogatepass") for shingle in sorted(shingles)])
    return sketch


def _calculate_jaccard(one: Shingles, other: Shingles) -> float:
    return len(one & other) / len(one | other)
