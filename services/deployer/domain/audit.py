"""The audit log: a chain of entries, each hashed over the one before it and sealed with a key.

Hashes show that an entry was changed, removed or put in; the seals show that somebody without the key wrote the whole
log anew; the anchor, which is kept elsewhere, shows that its end was cut off.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

GENESIS = "0" * 64
ANCHOR_TAG = "audit_anchor"
"""Tag of the registered model that holds the newest anchor."""
_encoder = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True)
class Entry:
    """One line of the audit log; `seal` is None where no key was set when it was written."""

    sequence: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    previous_hash: str
    hash: str
    seal: str | None = None


@dataclass(frozen=True)
class Anchor:
    """The last entry at some time, as it was written down elsewhere."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


@dataclass(frozen=True)
class Verification:
    """What a look at the log found; `broken_at` is the first entry that does not fit, None while the log is intact."""

    last: Anchor
    broken_at: int | None = None
    reason: str = ""


def parse_anchor(text: str) -> Anchor:
    """Read `SEQUENCE:HASH`. Raises: ValueError."""
    sequence, _, entry_hash = text.strip().partition(":")
    if not sequence.isdecimal() or len(entry_hash) != len(GENESIS):
        raise ValueError(f"an anchor reads SEQUENCE:HASH, with a hash of {len(GENESIS)} hex digits, not {text!r}")
    return Anchor(int(sequence), entry_hash)


def calculate_entry_hash(
    sequence: int, at: datetime, actor: str, action: str, subject: str, detail: Mapping[str, Any], previous_hash: str
) -> str:
    """Return the SHA-256 (hex) over the entry and the hash of the one before it.

    `at` counts in UTC: Postgres gives times back in the zone of the session.
    """
    content = [sequence, at.astimezone(UTC).isoformat(), actor, action, subject, dict(detail), previous_hash]
    return hashlib.sha256(_encoder.encode(content)).hexdigest()


def calculate_seal(key: str, entry_hash: str) -> str:
    """Return the HMAC-SHA-256 (hex) of an entry's hash, which covers the entry and all before it."""
    return hmac.new(key.encode(), entry_hash.encode(), hashlib.sha256).hexdigest()


def verify_chain(
    entries: Iterable[Entry], *, key: str = "", anchor: Anchor | None = None, after: Anchor | None = None
) -> Verification:
    """Follow the chain, one entry after the other, to its end or to the first of these:

    - an entry whose number or previous hash is not that of its place, or whose hash is not that of its content
    - with a key: a seal that is wrong, or missing after an entry that has one
    - with an anchor: another hash than the anchor's at its place, or an end before that

    Args:
        after: the entry before the first one given, for a part of the log.
    """
    last, sealed = after or Anchor(0, GENESIS), False
    for entry in entries:
        if reason := _find_fault(entry, last, key, sealed=sealed):
            return Verification(last, last.sequence + 1, reason)
        last, sealed = Anchor(entry.sequence, entry.hash), sealed or entry.seal is not None
        if anchor is not None and last.sequence == anchor.sequence and last.hash != anchor.hash:
            return Verification(last, last.sequence, "it is not the entry that was anchored")
    if anchor is not None and last.sequence < anchor.sequence:
        return Verification(last, last.sequence + 1, f"the log ends here, and entry {anchor.sequence} was anchored")
    return Verification(last)


def _find_fault(entry: Entry, last: Anchor, key: str, *, sealed: bool) -> str | None:
    content = (entry.sequence, entry.at, entry.actor, entry.action, entry.subject, entry.detail, entry.previous_hash)
    if (entry.sequence, entry.previous_hash) != (last.sequence + 1, last.hash):
        return "an entry was removed or put in"
    if entry.hash != calculate_entry_hash(*content):
        return "it was changed"
    if not key or (entry.seal is None and not sealed):
        return None
    is_sealed = hmac.compare_digest(entry.seal or "", calculate_seal(key, entry.hash))
    return None if is_sealed else "its seal is wrong or missing"
