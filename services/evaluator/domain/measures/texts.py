"""Counters over one answer, for scripts with and without spaces: looping, to a judge, in which language?"""

import re
import unicodedata
from collections import Counter

from shared.answers import split_words
from shared.conversation import UNSPACED, derive_words

TO_JUDGES = (
    r"\b(dear |note to (the )?)(judge|evaluator|grader|rater)s?\b",
    r"\bas (the|a|an) (judge|evaluator|grader)\b",
    r"\b(choose|pick|select|prefer|rate|score) this (answer|response)\b",
    r'"winner"\s*:',
    r"\bthis (answer|response) is (the )?(better|best|winner|correct one)\b",
    r"\b(output|reply|respond|say) \W?(first|second)\b",
    r"\b(the )?(other|second|first) (answer|response) is (wrong|worse|unsafe|bad)\b",
    r"\bignore (the|your|all|any) (rubric|criteria|previous)",
)
"""What is said to whoever judges an answer, not to its user."""
SCRIPTS = (
    ("ja", "\u3040-\u30ff"),
    ("zh", "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"),
    ("ko", "\uac00-\ud7af\u1100-\u11ff"),
    ("th", "\u0e00-\u0e7f"),
    ("ru", "\u0400-\u04ff"),
    ("el", "\u0370-\u03ff"),
    ("ar", "\u0600-\u06ff"),
    ("he", "\u0590-\u05ff"),
    ("hi", "\u0900-\u097f"),
)
STOP_WORDS = {
    "en": "the and you your is are of to for that with this have it can will not please on my what how",
    "es": "el la los las que de y en un una por para con su es está usted no se del puede gracias mi qué cómo",
    "fr": "le la les des que et en un une pour avec vous votre est dans ne pas sur du nous je mon merci être",
    "de": "der die das und ist nicht sie ihr ihre zu den mit für ein eine auf wir ich von im bitte es sich wird",
    "pt": "o a os as que de e em um uma por para com seu é está você não se do da pode obrigado meu como",
    "it": "il lo la gli le che di e in un una per con suo è non si del della può grazie mio come sono",
}
_STOP = {language: frozenset(words.split()) for language, words in STOP_WORDS.items()}
_LETTERS = {language: re.compile(f"[{letters}]") for language, letters in SCRIPTS}
LEAST_STOP_WORDS = 2


def split_units(text: str) -> list[str]:
    """Split into words without case and punctuation, and single characters of scripts whose words no spaces divide."""
    return [unit for word in derive_words(text) for unit in re.findall(rf"[{UNSPACED}]|[^{UNSPACED}]+", word)]


def is_repetitive(answer: str) -> bool:
    """Tell whether an answer repeats itself. Any of these is enough:

    - the same one to eight characters 20 times on end
    - one word 6 times on end
    - fewer than half of 12 or more triples of words (or of characters that stand for words) are distinct
    """
    if re.search(r"(\S{1,8}?)\1{19}", answer):
        return True
    words = answer.casefold().split()
    if any(len(set(words[start : start + 6])) == 1 for start in range(len(words) - 5)):
        return True
    units = split_words(answer.casefold())
    triples = list(zip(units, units[1:], units[2:], strict=False))
    return len(triples) >= 12 and len(set(triples)) < len(triples) / 2


def talks_to_judge(answer: str) -> bool:
    """Tell whether an answer speaks to whoever judges it, of answers and winners, in English."""
    text = unicodedata.normalize("NFKC", answer).casefold()
    return any(re.search(pattern, text) for pattern in TO_JUDGES)


def find_language(text: str) -> str | None:
    """Guess the language: by its script, or by its commonest words where the script is Latin; None: too little to tell.

    Kana makes Han characters Japanese.
    """
    counts = {language: len(pattern.findall(text)) for language, pattern in _LETTERS.items()}
    letters = sum(character.isalpha() for character in text)
    if counts["ja"] and counts["ja"] * 5 >= counts["zh"]:
        counts["ja"] += counts["zh"]
        counts["zh"] = 0
    language = max(counts, key=lambda name: counts[name])
    if counts[language] * 2 > letters:
        return language
    words = derive_words(text)
    found = Counter({name: sum(word in common for word in words) for name, common in _STOP.items()})
    (best, most), (_, second) = found.most_common(2)
    return best if most >= LEAST_STOP_WORDS and most > second else None


def has_switched(question: str, answer: str) -> bool:
    """Tell whether an answer is in another language than its question, where both can be told."""
    asked, answered = find_language(question), find_language(answer)
    return asked is not None and answered is not None and asked != answered
