"""Texts that are nearly the same, of any number of texts: MinHash over word 3-shingles, and a count to make sure."""

from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH

from services.curator.domain.text import Shingles, derive_shingles, derive_words

SIMILAR = 0.8
PERMUTATIONS = 64
SEED = 1


def find_near_copies(texts: Sequence[str], least_words: int) -> list[list[int]]:
    """Groups of two or more texts, by their positions, each near-identical with the group's first text.

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
            if other not in taken and _compare(shingles[at], shingles[other]) >= SIMILAR
        ]
        taken.update(alike)
        if len(alike) > 1:
            groups.append(alike)
    return groups


def _sketch(shingles: Shingles) -> MinHash:
    sketch = MinHash(num_perm=PERMUTATIONS, seed=SEED)
    sketch.update_batch([" ".join(shingle).encode("utf-8", "surrogatepass") for shingle in sorted(shingles)])
    return sketch


def _compare(one: Shingles, other: Shingles) -> float:
    return len(one & other) / len(one | other)
