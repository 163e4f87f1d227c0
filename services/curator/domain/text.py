"""Text as it is compared."""

import re
import unicodedata

SHINGLE_WORDS = 3

Shingles = frozenset[tuple[str, ...]]


def derive_words(text: str) -> list[str]:
    """Words without case and punctuation, compatible characters made one."""
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def derive_shingles(text: str) -> Shingles:
    """Every run of three words; of a shorter text, all its words as one."""
    words = derive_words(text)
    if len(words) < SHINGLE_WORDS:
        return frozenset([tuple(words)]) if words else frozenset()
    return frozenset(tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1))


def calculate_similarity(one: str, other: str) -> float:
    """Jaccard similarity of the two texts' 3-shingles: what MinHash estimates, and cheaper to count for two texts.

    1 for two texts without words.
    """
    a, b = derive_shingles(one), derive_shingles(other)
    return len(a & b) / len(a | b) if a | b else 1.0
