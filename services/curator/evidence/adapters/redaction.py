"""Personal data leaves a text before it is stored: by a rule per kind, for a placeholder that nobody can undo.

| kind | found by | held against |
|---|---|---|
| secret | detect-secrets' patterns, private key blocks, our own API keys | - |
| email | an address's shape | - |
| iban | country, two digits, groups | python-stdnum: length and checksum |
| card | 13 to 19 digits | python-stdnum: Luhn |
| ip | four numbers, or hexadecimal groups | the standard library |
| phone | 7 to 15 digits as people write them | phonenumbers: a valid number, international or of `PHONE_REGIONS` |

The libraries are asked about a text only if compiled expressions see something of that shape in it: most have none.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import phonenumbers
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.stripe import StripeDetector
from stdnum import iban, luhn

from shared.auth import KEY_PATTERN
from shared.events import FeedbackReceived, InteractionRecorded

PHONE_REGIONS = (None, "US", "GB")

# Each begins with one character, for which `re` searches several times faster than for alternatives.
NUMBERS = re.compile(r"\d(?:[\d ().:/-]{5,}\d|(?<=[A-Za-z]{2}\d)\d ?[A-Za-z0-9]{4})")
COLONS = re.compile(r":(?:(?<=[0-9a-fA-F]:)[0-9a-fA-F:]*:[0-9a-fA-F]|:)")
TOKENS = re.compile(
    r"A3T|A[BCKS][IC]A|gh[pousr]_|gl[a-z]+-|xox|hooks\.slack|eyJ|sk-|[rs]k_live|-----BEGIN|SG\.|_authToken|AccountKey|hk_"
)
SHORT = 40
SECRETS: tuple[RegexBasedDetector, ...] = (
    AWSKeyDetector(),
    AzureStorageKeyDetector(),
    BasicAuthDetector(),
    GitHubTokenDetector(),
    GitLabTokenDetector(),
    JwtTokenDetector(),
    NpmDetector(),
    OpenAIDetector(),
    SendGridDetector(),
    SlackDetector(),
    StripeDetector(),
)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Shape:
    """A rule: what of this shape passes the check becomes the kind's placeholder."""

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool]


def is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and digits[0] in "3456" and luhn.is_valid(digits)


def is_ip(text: str) -> bool:
    """Short ones without a digit, `a::b`, are rather C++."""
    if ":" in text and not (len(text) > 5 and any(character.isdigit() for character in text)):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_phone(text: str) -> bool:
    if not 7 <= sum(character.isdigit() for character in text) <= 15:
        return False
    return any(_is_phone_of(text, region) for region in PHONE_REGIONS)


def _is_phone_of(text: str, region: str | None) -> bool:
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(text, region)))
    except phonenumbers.NumberParseException:
        return False


def is_always(_: str) -> bool:
    return True


SHAPES = (
    Shape("secret", PRIVATE_KEY, is_always),
    Shape("secret", KEY_PATTERN, is_always),
    Shape("email", re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)+"), is_always),
    Shape("iban", re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b"), iban.is_valid),
    Shape("card", re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w])"), is_card),
    Shape("ip", re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:]+)(?![\w:])"), is_ip),
    Shape("phone", re.compile(r"(?<![\w.])\+?\(?\d[\d ().\-/]{5,}\d(?!\w)"), is_phone),
)


def _is_suspicious(text: str) -> bool:
    """Whether there is anything of a secret's or personal datum's shape in it."""
    return (
        "@" in text
        or NUMBERS.search(text) is not None
        or (":" in text and COLONS.search(text) is not None)
        or TOKENS.search(text) is not None
    )


# roles, names of metadata and their values come again and again
_is_suspicious_word = lru_cache(4096)(_is_suspicious)


def redact_text(text: str, counts: Counter[str]) -> str:
    """The text with placeholders such as `[EMAIL]`; adds to the counts by kind."""
    if not (_is_suspicious_word(text) if len(text) <= SHORT else _is_suspicious(text)):
        return text
    for secret in sorted(set(_find_secrets(text)), key=lambda found: (-len(found), found)):
        counts["secret"] += text.count(secret)
        text = text.replace(secret, "[SECRET]")
    for shape in SHAPES:
        text = _replace(shape, text, counts)
    return text


def _find_secrets(text: str) -> Iterator[str]:
    """The whole of each match: the detectors' own search yields a group of it for some."""
    for detector in SECRETS:
        for pattern in detector.denylist:
            yield from (match[0] for match in pattern.finditer(text))


def _replace(shape: Shape, text: str, counts: Counter[str]) -> str:
    def place(match: re.Match[str]) -> str:
        if not shape.check(match[0]):
            return match[0]
        counts[shape.kind] += 1
        return f"[{shape.kind.upper()}]"

    return shape.pattern.sub(place, text)


def redact_value(value: Any, counts: Counter[str]) -> Any:
    """A JSON value with every text in it redacted, names of members too."""
    if isinstance(value, str):
        return redact_text(value, counts)
    if isinstance(value, list):
        return [redact_value(item, counts) for item in value]
    if isinstance(value, dict):
        return {redact_text(str(key), counts): redact_value(item, counts) for key, item in value.items()}
    return value


def redact_interaction(event: InteractionRecorded) -> tuple[InteractionRecorded, Counter[str]]:
    """The event without personal data in its texts; the same event gives the same bytes, so a replay does too."""
    counts: Counter[str] = Counter()
    messages, answer = redact_value(event.messages, counts), redact_text(event.answer, counts)
    metadata = redact_value(event.metadata, counts)
    if not counts:
        return event, counts
    return msgspec.structs.replace(event, messages=messages, answer=answer, metadata=metadata), counts


def redact_feedback(event: FeedbackReceived) -> tuple[FeedbackReceived, Counter[str]]:
    """Likewise: the texts of edits, complaints and comments, and metadata."""
    counts: Counter[str] = Counter()
    feedback, metadata = event.feedback, redact_value(event.metadata, counts)
    if isinstance(text := getattr(feedback, "text", None), str):
        feedback = msgspec.structs.replace(feedback, text=redact_text(text, counts))
    return (msgspec.structs.replace(event, feedback=feedback, metadata=metadata), counts) if counts else (event, counts)
