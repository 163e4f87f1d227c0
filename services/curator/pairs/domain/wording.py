"""How two texts differ, in any script and in code: in words, or characters where no spaces divide them, and signs."""

import re
import unicodedata

from shared.conversation import UNSPACED

SHINGLE_TOKENS = 3
CODE_SIGNS = frozenset("=(){}[]<>_")

_units = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_tokens = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|\n|[^\w\s]")
_quoting = "\u3001\u3002\uff01\uff0c\uff1f\u201c\u201d\u2018\u2019\u00ab\u00bb"
_sentence_ends = re.compile(rf"(?<=\w)[.,!?\u2026]+(?=\s|$)|[{_quoting}]")


def derive_units(text: str) -> list[str]:
    """Split a text into words, and single characters of scripts that divide no words, in NFKC and without case."""
    return _units.findall(unicodedata.normalize("NFKC", text).casefold())


def derive_tokens(text: str) -> list[str]:
    """Split a text into units, signs and line breaks.

    Punctuation that ends or quotes a sentence is left out. So is the case of letters, but in what looks like code.
    """
    known = unicodedata.normalize("NFC", text).strip()
    if CODE_SIGNS.isdisjoint(known):
        known = known.casefold()
    lines = (line.strip() for line in _sentence_ends.sub("", known).splitlines())
    return _tokens.findall("\n".join(line for line in lines if line))


def says_the_same(one: str, other: str) -> bool:
    """Say whether two texts differ in no word, number, sign or line break."""
    return derive_tokens(one) == derive_tokens(other)


def is_near_identical(one: str, other: str, least_shared: float) -> bool:
    """Say whether two texts share at least this much of their runs of three tokens, and every number and sign."""
    a, b = derive_tokens(one), derive_tokens(other)
    if _select_exact(a) != _select_exact(b):
        return False
    first, second = _shingle(a), _shingle(b)
    return not first | second or len(first & second) / len(first | second) >= least_shared


def _select_exact(tokens: list[str]) -> list[str]:
    """Select the tokens of which the least difference may be what matters: a price, an operator, a list's bullet."""
    return [token for token in tokens if token != "\n" and (not token.isalpha())]


def _shingle(tokens: list[str]) -> frozenset[tuple[str, ...]]:
    size = min(SHINGLE_TOKENS, len(tokens))
    return frozenset(tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)) if tokens else frozenset()


def share_anything(one: str, other: str) -> bool:
    """Say whether two texts have a unit, or three letters of words on end, in common."""
    return not _derive_parts(one).isdisjoint(_derive_parts(other))


def _derive_parts(text: str) -> set[str]:
    units = derive_units(text)
    return {*units, *(unit[at : at + 3] for unit in units for at in range(len(unit) - 2))}
