"""How two texts differ, in any script and in code: in words, or characters where no spaces divide them, and signs.

And the language of a text, where it is plain to see.
"""

import re
import unicodedata
from collections import Counter
from textwrap import dedent

from shared.conversation import UNSPACED, derive_words

SHINGLE_TOKENS = 3
CODE_SIGNS = frozenset("=(){}[]<>_")

_units = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_tokens = re.compile(rf"^ +|[{UNSPACED}]|[^\W{UNSPACED}]+|\n|[^\w\s]", re.MULTILINE)
_first_letters = re.compile(r"(?:\A|(?<=\n)|(?<=[.!?\u2026] ))[^\W\d_]")
_quoting = "\u3001\u3002\uff01\uff0c\uff1f\u201c\u201d\u2018\u2019\u00ab\u00bb"
_sentence_ends = re.compile(rf"(?<=\w)[.,!?\u2026]+(?=\s|$)|[{_quoting}]")


def derive_units(text: str) -> list[str]:
    """Split a text into words, and single characters of scripts that divide no words, in NFKC and without case."""
    return _units.findall(unicodedata.normalize("NFKC", text).casefold())


def derive_tokens(text: str) -> list[str]:
    """Split a text into units, signs, line breaks and what lines are indented by.

    Punctuation that ends or quotes a sentence is left out. So is the case of its first letter, but in what looks like
    code.
    """
    known = dedent(unicodedata.normalize("NFC", text).expandtabs(4))
    if CODE_SIGNS.isdisjoint(known):
        known = _first_letters.sub(lambda first: first[0].casefold(), known)
    lines = (line.rstrip() for line in _sentence_ends.sub("", known).splitlines())
    return _tokens.findall("\n".join(line for line in lines if line.strip()))


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


MAJORITY = 0.5
EVIDENCE = 2.0
LEAD = 1.5

SCRIPTS = {
    "ja": re.compile("[\u3040-\u30ff]"),
    "ko": re.compile("[\uac00-\ud7af\u1100-\u11ff]"),
    "zh": re.compile("[\u4e00-\u9fff]"),
    "cyrillic": re.compile("[\u0400-\u04ff]"),
    "el": re.compile("[\u0370-\u03ff]"),
    "arabic": re.compile("[\u0600-\u06ff]"),
    "he": re.compile("[\u0590-\u05ff]"),
    "devanagari": re.compile("[\u0900-\u097f]"),
    "th": re.compile("[\u0e00-\u0e7f]"),
}
JAPANESE_SHARE = 0.1
"""Japanese mixes its own letters with Chinese ones."""
_COMMONEST = """
en the a and is to of you that it for was with have this are not your we please can our
de der die und ist das nicht sie ich zu den mit ein auf es eine wir für bitte haben
fr le la les au aux du et est de des vous que une pour pas dans nous je qui sur votre avec
es el los las la del al y es de que en un por para con no su una lo nos está más favor pero
it il lo gli di che è la per un non sono con del si una le della ho questo ci
pt o os as e é de que em um para com não uma do da seu por mais você
nl de het een en is van ik dat niet je op te met voor we zijn uw maar
"""
COMMONEST = {code: frozenset(words) for code, *words in map(str.split, _COMMONEST.strip().splitlines())}
SHARED_BY = Counter(word for words in COMMONEST.values() for word in words)


def derive_language(text: str) -> str | None:
    """Derive an ISO 639-1 code, or a script's name where several languages share it; None when unsure."""
    if text.isascii():
        return _read_latin(derive_words(text))
    letters = max(sum(character.isalpha() for character in text), 1)
    shares = {name: len(pattern.findall(text)) / letters for name, pattern in SCRIPTS.items()}
    if shares["ja"] >= JAPANESE_SHARE and shares["ja"] + shares["zh"] >= MAJORITY:
        return "ja"
    if (script := max(shares, key=lambda name: shares[name])) and shares[script] >= MAJORITY:
        return script
    return _read_latin(derive_words(text))


def _read_latin(words: list[str]) -> str | None:
    """Score languages by their common words; a word that several share counts in parts."""
    scores = sorted(
        ((sum(1 / SHARED_BY[word] for word in words if word in common), name) for name, common in COMMONEST.items()),
        reverse=True,
    )
    (most, language), (second, _) = scores[:2]
    return language if most >= EVIDENCE and most >= LEAD * second else None
