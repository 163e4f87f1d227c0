"""Personal data leaves a text before it is stored: for a placeholder that nobody can undo.

What is looked for is in `secret_formats`, `personal_data` and `phone_numbers`. A text that has nothing of their shapes,
as most have not, is told by three quick looks. Redaction goes on until it finds nothing more, so redacting again what
was redacted changes nothing. All of it costs what the text's length costs; a record that takes longer than its share of
CPU, whatever the reason, is refused.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from services.curator.evidence.adapters.personal_data import (
    find_addresses,
    find_cards,
    find_emails,
    find_ibans,
    find_ssns,
)
from services.curator.evidence.adapters.phone_numbers import find_phones
from services.curator.evidence.adapters.plain_text import make_plain
from services.curator.evidence.adapters.secret_formats import (
    PASSWORD_WORDS,
    find_named_passwords,
    find_passwords,
    find_secrets,
    is_random,
)
from shared.errors import InvalidRequest
from shared.events import FeedbackReceived, InteractionRecorded

BUDGET_SECONDS = 5.0
MAX_DEPTH = 200
MAX_PASSES = 8

S = TypeVar("S", bound=msgspec.Struct)

Finder = Callable[[str], Iterator[tuple[int, int] | None]]

# an earlier kind has the first claim on a place
OF_TOKENS: tuple[tuple[str, Finder], ...] = (("secret", find_secrets),)
OF_PASSWORDS: tuple[tuple[str, Finder], ...] = (("secret", find_named_passwords),)
OF_NAMES: tuple[tuple[str, Finder], ...] = (("secret", find_passwords), ("email", find_emails))
OF_NUMBERS: tuple[tuple[str, Finder], ...] = (
    ("iban", find_ibans),
    ("card", find_cards),
    ("ssn", find_ssns),
    ("ip", find_addresses),
    ("phone", find_phones),
)

_NUMBERS = re.compile(r"[0-9][0-9 ().:/_-]{5}")
_GROUPS = re.compile(r":(?:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4})?:")
SHORTEST_TOKEN = 16
SHORT = 40


class RedactionTooSlow(InvalidRequest):
    """A record that took more CPU than its share: it is put aside."""

    title = "Redaction takes too long"


class Redaction:
    """One record's redaction: what was found so far, by kind, and the CPU seconds that it may use."""

    def __init__(self, budget_seconds: float = BUDGET_SECONDS, clock: Callable[[], float] = time.thread_time) -> None:
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._ends_at = clock() + budget_seconds

    def redact_text(self, text: str) -> str:
        """Return the text with placeholders such as `[EMAIL]`. Raises: RedactionTooSlow."""
        if len(text) <= SHORT and not _may_hold_any_word(text):
            return text
        for _ in range(MAX_PASSES):
            spans = self.find(text)
            if not spans:
                return text
            text = _replace(text, spans)
            self.counts.update(kind for *_, kind in spans)
        raise RedactionTooSlow(f"a text still holds personal data after {MAX_PASSES} passes")

    def redact_value(self, value: Any, depth: int = 0) -> Any:
        """Return a JSON value with every text in it redacted, names of members too.

        Raises: RedactionTooSlow; InvalidRequest: it is nested too deep.
        """
        if isinstance(value, str):
            return self.redact_text(value)
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, list):
            return [self.redact_value(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {self.redact_text(str(key)): self.redact_value(item, depth + 1) for key, item in value.items()}
        return value

    def find(self, text: str) -> list[tuple[int, int, str]]:
        """Start, end and kind of what is personal in it, in order; none overlap. Raises: RedactionTooSlow."""
        plain, locate = make_plain(text)
        finders = _choose_finders(plain)
        if not finders:
            return []
        claimed = bytearray(len(plain))
        spans = [(*span, kind) for kind, find in finders for span in self._claim(find(plain), claimed)]
        return [(*locate(start, end), kind) for start, end, kind in sorted(spans)]

    def _claim(self, found: Iterator[tuple[int, int] | None], claimed: bytearray) -> Iterator[tuple[int, int]]:
        """The spans of which no part has been claimed before, a longer one first."""
        for start, end in sorted(self._time(found), key=lambda span: (span[0] - span[1], span[0])):
            if not any(claimed[start:end]):
                claimed[start:end] = b"\1" * (end - start)
                yield start, end

    def _time(self, found: Iterator[tuple[int, int] | None]) -> Iterator[tuple[int, int]]:
        for span in found:
            if self._clock() > self._ends_at:
                raise RedactionTooSlow("the record's texts take too long to redact")
            if span is not None:
                yield span


def _choose_finders(text: str) -> tuple[tuple[str, Finder], ...]:
    """Those whose shapes the text has something of."""
    chosen = OF_TOKENS if _may_hold_token(text) else ()
    chosen += OF_NAMES if "@" in text else ()
    chosen += OF_PASSWORDS if _names_password(text) else ()
    if _NUMBERS.search(text) or (":" in text and _GROUPS.search(text)):
        chosen += OF_NUMBERS
    return chosen


def _may_hold_token(text: str) -> bool:
    long_words = [word for word in text.split() if len(word) >= SHORTEST_TOKEN]
    return any(map(is_random, long_words)) or "-----BEGIN" in text


def _names_password(text: str) -> bool:
    lowered = text.lower()
    return any(word in lowered for word in PASSWORD_WORDS)


@lru_cache(4096)
def _may_hold_any_word(text: str) -> bool:
    """Roles, names of metadata and their values come again and again."""
    return bool(_choose_finders(make_plain(text)[0]))


def _replace(text: str, spans: list[tuple[int, int, str]]) -> str:
    parts, position = [], 0
    for start, end, kind in spans:
        parts += [text[position:start], f"[{kind.upper()}]"]
        position = end
    return "".join([*parts, text[position:]])


def redact_text(text: str, counts: Counter[str]) -> str:
    """Return the text with placeholders such as `[EMAIL]`; adds to the counts by kind. Raises: RedactionTooSlow."""
    redaction = Redaction()
    redacted = redaction.redact_text(text)
    counts.update(redaction.counts)
    return redacted


NO_TEXT = frozenset(
    {
        *("interaction_id", "event_id", "rollout_id", "key_id", "conversation_id", "user", "content_hash"),
        *("model_version", "intended_version", "solicited", "propensity", "clock_offset_seconds"),
        *("served_at", "received_at", "occurred_at"),
        *("prompt_tokens", "completion_tokens", "first_byte_seconds", "total_seconds"),
    }
)
"""Fields of the two events that hold ids, keyed hashes, times and numbers. Every other one, a new one too, is text."""


def redact_interaction(event: InteractionRecorded) -> tuple[InteractionRecorded, Counter[str]]:
    """Return the event without personal data in its texts; the same event gives the same bytes, so a replay does too.

    Raises: RedactionTooSlow; InvalidRequest: it is nested too deep.
    """
    redaction = Redaction()
    event = _redact_fields(event, redaction)
    return event, redaction.counts


def redact_feedback(event: FeedbackReceived) -> tuple[FeedbackReceived, Counter[str]]:
    """Redact likewise the texts of edits, complaints and comments, and metadata."""
    redaction = Redaction()
    event = _redact_fields(event, redaction)
    return event, redaction.counts


def _redact_fields(struct: S, redaction: Redaction) -> S:
    """Redact every field but those that hold no text, in structs within it too; what has nothing to redact stays."""
    fields = {name: getattr(struct, name) for name in struct.__struct_fields__ if name not in NO_TEXT}
    redacted = {name: _redact_field(value, redaction) for name, value in fields.items()}
    changed = {name: value for name, value in redacted.items() if value != fields[name]}
    return msgspec.structs.replace(struct, **changed) if changed else struct


def _redact_field(value: Any, redaction: Redaction) -> Any:
    if isinstance(value, msgspec.Struct):
        return _redact_fields(value, redaction)
    return redaction.redact_value(value)
