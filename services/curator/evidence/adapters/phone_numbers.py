"""Phone numbers: written as their country writes them, or beside a word that says so.

| written | found if |
|---|---|
| `+351 912 345 678`, `0049 30 1234567` | phonenumbers knows the country and the length |
| `(212) 456-7890`, `212-456-7890`, `212.456.7890` | area and exchange are possible in North America |
| `020 7946 0958`, `030/1234567`, `06 12 34 56 78`, `138 1234 5678` | valid in Britain, Germany, France, China |
| 7 to 15 digits, few groups | `phone`, `Telefon` or the like stands before, and they are valid in some country |

A date is none, nor is what the words before call an order's number or the like.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers

from services.curator.evidence.adapters.context import is_numbered_thing, is_said_before

WITH_ZERO = ("GB", "DE", "FR", "CN", "IT", "AT", "CH", "NL", "IN", "BR")
WITHOUT_ZERO = ("US", "ES", "CN", "PT", "IT", "IN", "MX", "BR", "PL")

_EXTENSION = r"(?: ?(?:x|ext\.?|#) ?[0-9]{1,6})?"
_END = _EXTENSION + r"(?!\w|[.,:/-][0-9])"
_INTERNATIONAL = re.compile(
    r"(?a)(?<![\w+])(?:\+|(?<![/.-])(?<![0-9] )00(?=[1-9][0-9]{0,2}[ ./()-]))"
    r"\(?[1-9](?:[ ./()-]{0,3}[0-9]){6,14}" + _EXTENSION + r"(?![0-9A-Za-z_])"
)
# begins with one character, for which `re` searches several times faster than for what may not stand before it
_CANDIDATE = re.compile(r"(?a)[(0-9](?<![\w+].)(?<![0-9][ .,:/-].)(?:[ ./()-]{0,3}[0-9]){6,20}")
_NATIONAL: tuple[tuple[str | None, re.Pattern[str]], ...] = tuple(
    (region, re.compile(pattern + _END, re.ASCII))
    for region, pattern in (
        (None, r"(?:1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}([.-]))[2-9][0-9]{2}(?(1)\1|[ .-])[0-9]{4}"),
        ("GB", r"(?:\(0[0-9]{2,4}\) ?|0[0-9]{2,4}[ -])(?:[0-9]{3,4}[ -][0-9]{3,4}|[0-9]{6})"),
        ("DE", r"(?:\(0[0-9]{2,4}\) ?|0[0-9]{2,4}(?:[/-]| / | - ))[0-9]{2,8}(?:[ -]?[0-9]{2,4}){0,3}"),
        ("DE", r"0[0-9]{2,4} [0-9]{5,8}"),
        ("FR", r"0[1-9](?:([ .-])[0-9]{2})(?:\1[0-9]{2}){3}"),
        ("CN", r"1[3-9][0-9](?:([ -])[0-9]{4}\1[0-9]{4}|[0-9]{8}(?=[\u4e00-\u9fff\uff0c\u3002]))"),
        ("ES", r"[6-9][0-9]{2}(?: [0-9]{2}){3}"),
    )
)
_BESIDE_A_WORD = re.compile(r"\(?[0-9](?:[ ./()-]{0,2}[0-9]){6,14}" + _END, re.ASCII)
_WORDS = re.compile(
    r"(?<!\[)\b(?:tele)?phones?\b|\btel\b|\bcall(?:ing|ed)?\b|\bcell\b|\bmobile\b|\bmobil|\bwhats ?app\b"
    r"|\btext (?:me|us|him|her)\b|\bfax\b"
    r"|\bsms\b|\breach(?:ed)? (?:me|us|him|her)\b|\bring (?:me|us)\b|\bdial|\bhotline\b"
    r"|\bhandy|\btelefon|\brufen\b|\banruf|\bruf\b"
    r"|\btel[eé]fono|\bm[oó]vil|\bcelular|\bll[aá]m|phone(?:_?number)?[\"']?\s?[:=]|电话|手机|拨打|致电|联系方式|座机|打|微信|☎|📞",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}([-./ ])(?:0?[1-9]|1[0-2])\1[0-3]?[0-9](?![0-9])"
    r"|(?<![0-9])(?<![0-9][-./])[0-3]?[0-9]([-./])[0-3]?[0-9]\2(?:19|20)?[0-9]{2}(?![0-9]|\2[0-9])"
)
_PAIRS_BEFORE = re.compile(
    r"\b(?:gpios?|pins?|bytes?|buffer|hex|bits|ids|octets?|[0-9A-Fa-f]{2})[ :=<(\[]{1,3}$", re.IGNORECASE
)
_PAIR_AFTER = re.compile(r" [0-9A-Fa-f]{2}(?!\w)")
"""What is written in pairs without end, or called so, is a list of bytes or pins."""
_STATE_BEFORE = re.compile(r"\b[A-Z]{2} {1,2}$")
_ZIP = re.compile(r"[0-9]{5}-[0-9]{4}")
_LAST_GROUP = re.compile(r"[ ./()-]{1,3}[0-9]{1,15}$")
_GROUPS = re.compile(r"[0-9]{1,15}")


def find_phones(text: str) -> Iterator[tuple[int, int] | None]:
    """Yield spans, some of which may overlap; None for each candidate that is no number."""
    for match in _INTERNATIONAL.finditer(text):
        length = _measure_international(match[0])
        yield (match.start(), match.start() + length) if length else None
    for candidate in _CANDIDATE.finditer(text):
        start = candidate.start()
        yield _find_national(text, start) or (_find_national(text, start + 1) if text[start] == "(" else None)


def _find_national(text: str, start: int) -> tuple[int, int] | None:
    for region, pattern in _NATIONAL:
        match = pattern.match(text, start)
        if match and _is_national(match[0], region):
            return None if _is_no_phone(text, match) else match.span()
    match = _BESIDE_A_WORD.match(text, start)
    if match and not _is_no_phone(text, match) and is_said_before(_WORDS, text, start) and _is_any(match[0]):
        return match.span()
    return None


def _is_no_phone(text: str, match: re.Match[str]) -> bool:
    return _DATE.search(match[0]) is not None or is_numbered_thing(text, match.start()) or _is_list_or_zip(text, match)


def _is_list_or_zip(text: str, match: re.Match[str]) -> bool:
    if _ZIP.fullmatch(match[0]):
        return _ends_with(_STATE_BEFORE, text, match.start())
    in_pairs = all(len(group) == 2 for group in _GROUPS.findall(match[0]))
    return in_pairs and (
        _PAIR_AFTER.match(text, match.end()) is not None or _ends_with(_PAIRS_BEFORE, text, match.start())
    )


def _ends_with(words: re.Pattern[str], text: str, end: int) -> bool:
    return words.search(text, max(0, end - 12), end) is not None


def _measure_international(candidate: str) -> int:
    """How much of it is a number: what follows may only look like its last group. 0 for none."""
    for _ in range(3):
        if _is_possible(candidate) if candidate.startswith("+") else _is_valid("+" + candidate[2:], None):
            return len(candidate)
        candidate = _LAST_GROUP.sub("", candidate)
    return 0


def _is_possible(number: str) -> bool:
    """Of numbers made up as examples, `+1 555 010 0199`, few are valid; `00` begins other numbers too."""
    try:
        return bool(phonenumbers.is_possible_number(phonenumbers.parse(number.replace("(0)", ""), None)))
    except phonenumbers.NumberParseException:
        return False


def _is_national(candidate: str, region: str | None) -> bool:
    return region is None or _is_valid(candidate, region)


@lru_cache(4096)
def _is_valid(candidate: str, region: str | None) -> bool:
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(candidate, region)))
    except phonenumbers.NumberParseException:
        return False


def _is_any(candidate: str) -> bool:
    groups = _GROUPS.findall(candidate)
    if len(groups) > 6:
        return False
    if [len(group) for group in groups] in ([3, 4], [3, 3, 4], [1, 3, 3, 4]):
        return True
    regions = WITH_ZERO if groups[0].startswith("0") else WITHOUT_ZERO
    return any(_is_valid(candidate, region) for region in regions)
