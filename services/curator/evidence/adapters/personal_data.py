"""Personal data in a plain text, kind by kind: bounded patterns propose, libraries and the words nearby decide.

| kind | proposed by | decided by |
|---|---|---|
| email | an `@` with a name before and a domain behind | the domain's end is a top-level domain |
| iban | country, two digits, groups | python-stdnum: length and checksum |
| card | 13 to 19 digits, together or in a card's groups | an issuer's first digits and length; python-stdnum: Luhn |
| ssn | 3, 2 and 4 digits | python-stdnum; without hyphens also the words before |
| ip | four numbers, or hexadecimal groups | the standard library; no version's or section's words before |
| phone | see `phone_numbers` | phonenumbers |

A pattern reads at most some hundred characters from where it starts, so that a text costs what its length costs.
"""

import ipaddress
import re
from collections.abc import Iterator

from stdnum import iban, luhn
from stdnum.exceptions import ValidationError
from stdnum.us import ssn

from services.curator.evidence.adapters.context import is_numbered_thing, is_said_before
from services.curator.evidence.adapters.top_level_domains import OTHER_SCRIPTS, is_top_level_domain

Span = tuple[int, int]
Found = Iterator[Span | None]
"""What was found; None for each candidate that was none, so that whoever asks can look at the clock."""

LONGEST_LOCAL_PART = 64
_LOCAL_PART_BACKWARDS = re.compile(r"[A-Za-z0-9\u00c0-\u024f_%+-](?:\.?[A-Za-z0-9\u00c0-\u024f_%+'-]){0,63}+")
_LABEL = r"[A-Za-z0-9\u00c0-\u024f](?:[A-Za-z0-9\u00c0-\u024f-]{0,62}+)"
_DOMAIN = re.compile(rf"(?a)(?:{_LABEL}\.){{1,8}}?((?:[A-Za-z]{{2,24}}|xn--[a-z0-9-]{{2,59}}))(?![\w(]|-\w|\.\w)")
_OTHER_SCRIPT = re.compile(r"(?:[\w-]{1,63}+\.){1,4}([^\W\d_a-zA-Z]{2,12}+)(?!\w)")
_OTHER_LOCAL_PART_BACKWARDS = re.compile(r"[\w%+-](?:\.?[\w%+'-]){0,63}+")
_DOMAIN_BEFORE_A_SENTENCE = re.compile(rf"(?:{_LABEL}\.){{1,8}}?([a-z]{{2,24}})(?=\.[A-Z][a-z])")
_VERSION = re.compile(r"[v^~=]?[0-9]{1,9}\.[0-9]|[0-9]x\.")
_NOBODY = frozenset({"git", "hg", "svn", "this", "super", "self", "return", "break", "continue"})


def find_emails(text: str) -> Found:
    at = text.find("@")
    while at >= 0:
        domain = _match_domain(text, at + 1)
        start = _find_local_part(text, at, domain.re is _OTHER_SCRIPT) if domain else at
        is_somebody = domain is not None and start < at and text[start:at].lower() not in _NOBODY
        yield (start, domain.end()) if domain and is_somebody else None
        at = text.find("@", at + 1)


def _match_domain(text: str, start: int) -> re.Match[str] | None:
    for pattern in (_DOMAIN, _DOMAIN_BEFORE_A_SENTENCE):
        match = pattern.match(text, start)
        if match and is_top_level_domain(match[1]):
            return None if _VERSION.match(match[0]) else match
    match = _OTHER_SCRIPT.match(text, start)
    return match if match and match[1] in OTHER_SCRIPTS else None


def _find_local_part(text: str, at: int, in_any_script: bool) -> int:
    """Where the name before the `@` begins, without quotes and signs in front of it; at the `@` if there is none."""
    pattern = _OTHER_LOCAL_PART_BACKWARDS if in_any_script else _LOCAL_PART_BACKWARDS
    match = pattern.match(text[max(0, at - LONGEST_LOCAL_PART) : at][::-1])
    if match is None:
        return at
    name = match[0][::-1]
    return at - len(name.lstrip("'%+-"))


_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
)
_LAST_GROUP = re.compile(r"[ -][A-Za-z0-9]{1,7}$")


def find_ibans(text: str) -> Found:
    """Yield spans; what looks like an IBAN's last group may be the next word, so it is tried without it too."""
    for match in _IBAN.finditer(text):
        candidate = match[0]
        while candidate and not _is_iban(candidate):
            shorter = _LAST_GROUP.sub("", candidate)
            candidate = shorter if shorter != candidate else ""
        yield (match.start(), match.start() + len(candidate)) if candidate else None


def _is_iban(candidate: str) -> bool:
    """By length and check digits; the countries' own rules refuse some banks that there are."""
    try:
        iban.validate(candidate, check_country=False)
    except ValidationError:
        return False
    return True


_CARD = re.compile(
    r"(?a)(?<!\w)(?<![0-9][.,-])(?:[0-9]{13,19}"
    r"|[0-9]{4}([ .-]{1,2})[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{3})?"
    r"|[0-9]{4}([ .-])[0-9]{6}\2[0-9]{4,5})(?!\w|[.,-][0-9])"
)
_ISSUERS = re.compile(
    r"4(?:.{12}|.{15}|.{18})|5[1-5].{14}|(?:222[1-9]|22[3-9].|2[3-6]..|27[01].|2720).{12}|3[47].{13}"
    r"|3(?:0[0-5]|[68].).{11}|6(?:011|5..|4[4-9].|2..).{12,15}|35.{14,17}|5[06-8].{14}|2131.{11}|1800.{11}"
)


def find_cards(text: str) -> Found:
    for match in _CARD.finditer(text):
        yield match.span() if _is_card(match[0]) and _may_be_card(text, match) else None


def _is_card(candidate: str) -> bool:
    digits = re.sub(r"[^0-9]", "", candidate)
    return _ISSUERS.fullmatch(digits) is not None and luhn.is_valid(digits)


def _may_be_card(text: str, match: re.Match[str]) -> bool:
    """Nobody groups an order's digits as a card's are."""
    return not match[0].isdigit() or not is_numbered_thing(text, match.start())


_SSN = re.compile(r"(?a)(?<!\w)(?<![0-9][.,-])[0-9]{3}([ .-]?)[0-9]{2}\1[0-9]{4}(?!\w|[.,-][0-9])")
_SSN_WORDS = re.compile(
    r"\bssn\b|\bsocial[ -]security\b|\bss#|\bsocial\b|\bitin\b|sozialversicherung|seguro social|社会安全", re.I
)


def find_ssns(text: str) -> Found:
    for match in _SSN.finditer(text):
        yield match.span() if _is_ssn(match[0]) and _may_be_ssn(text, match) else None


def _may_be_ssn(text: str, match: re.Match[str]) -> bool:
    if is_said_before(_SSN_WORDS, text, match.start()):
        return True
    return match[1] == "-" and not is_numbered_thing(text, match.start())


def _is_ssn(candidate: str) -> bool:
    """Also the three that were printed so often that the office withdrew them: people still write them."""
    digits = re.sub(r"[^0-9]", "", candidate)
    try:
        ssn.validate(digits)
    except ValidationError:
        return digits in {"078051120", "457555462", "219099999"}
    return True


_IPV4 = re.compile(r"(?a)(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|[ ,]?-?\.[0-9]|-[A-Za-z])")
_IPV6 = re.compile(
    r"(?a)(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:|::)(?:[0-9A-Fa-f]{0,4}:){1,7}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4})(?![\w:]|\.[0-9])"
)
_VERSION_BEFORE = re.compile(
    r"(?:(?:^|[\s(\"'\[,;])[A-Za-z][\w.+-]{0,30}/|[A-Za-z_]-|(?:==|[~<>!]=|~>|[~^]) ?|\bv\.? ?"
    r"|(?:\bver(?:sion(?:s|en|es)?|si[oó]n)?\b|\brelease[sd]?\b|\bbuild\b|\bfirmware\b|\b[Ss]ection\b|\bchapter\b|\bsec\.|§"
    r"|\bKapitel\b|\bAbschnitt\b|\bcap[ií]tulo\b|\bsecci[oó]n\b|\bOID\b|版本|章节|第)[:=\"']{0,3} {0,2}v?\"?)$",
    re.I,
)
_ADDRESS_BEFORE = re.compile(
    r"(?<!\[)\b(?:ip|ips|ipv4|addr|address(?:es)?|adresse[n]?|direcci[oó]n|host|server|servidor|clients?|cliente|ping|ssh|dns|gateway"
    r"|peer|subnet|nameserver|remote|login)\b|地址|服务器|//$|@$",
    re.I,
)
_FRACTION_BEFORE = re.compile(r"\.[0-9]{1,4}[ ,-]$")
_FRACTION_AFTER = re.compile(r"[ ,]?-?[0-9]{0,4}\.[0-9]")
LOW = 30


def find_addresses(text: str) -> Found:
    for match in _IPV4.finditer(text):
        yield match.span() if _is_ipv4(match[0]) and _may_be_address(text, match) else None
    for match in _IPV6.finditer(text):
        yield match.span() if _is_ipv6(match[0]) else None


def _may_be_address(text: str, match: re.Match[str]) -> bool:
    if is_said_before(_VERSION_BEFORE, text, match.start()) or _is_among_fractions(text, match):
        return False
    return _is_no_version(match[0]) or is_said_before(_ADDRESS_BEFORE, text, match.start())


def _is_among_fractions(text: str, match: re.Match[str]) -> bool:
    """As in the path of a drawing, `-2.12 3.51.98.32 2.03.5`, where points divide numbers."""
    start = match.start()
    before = _FRACTION_BEFORE.search(text, max(0, start - 8), start)
    return before is not None and _FRACTION_AFTER.match(text, match.end()) is not None


def _is_ipv4(candidate: str) -> bool:
    """One that may be somebody's: no loopback, link-local, multicast address or mask."""
    try:
        address = ipaddress.IPv4Address(candidate)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.packed[0] in {0, 255})


def _is_no_version(candidate: str) -> bool:
    """Versions have small numbers, or end in zeros as browsers' do."""
    numbers = [int(number) for number in candidate.split(".")]
    return not candidate.endswith(".0.0") and (numbers[0] == 10 or max(numbers) > LOW)


def _is_ipv6(candidate: str) -> bool:
    """A public, a local, a mapped or a full one: `::1` is nobody's, `a::b` is C++, pairs of digits are a device's."""
    try:
        address = ipaddress.IPv6Address(candidate)
    except ValueError:
        return False
    groups = candidate.split(":")
    if len(groups) == 8 and "" not in groups:
        return max(map(len, groups)) > 2
    first = address.packed[0]
    return address.ipv4_mapped is not None or 0x20 <= first <= 0x3F or first in {0xFC, 0xFD} or address.is_link_local
