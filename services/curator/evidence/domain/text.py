"""Texts as they are compared: shingles, and the language where it is plain to see."""

import re
from collections import Counter

from shared.conversation import derive_words

SHINGLE_WORDS = 3

Shingles = frozenset[tuple[str, ...]]


def derive_shingles(text: str) -> Shingles:
    """Derive every run of three words; of a shorter text, all its words as one."""
    words = derive_words(text)
    if len(words) < SHINGLE_WORDS:
        return frozenset([tuple(words)]) if words else frozenset()
    return frozenset(tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1))


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
