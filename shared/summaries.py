"""Free text for people, in events and in stored records."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class Summarised(msgspec.Struct, frozen=True, kw_only=True):
    """A record with free text for people. Release 0.1.0 called it `words`; both are read until 0.3.0."""

    summary: str = ""
    words: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.words is not UNSET:
            msgspec.structs.force_setattr(self, "summary", self.summary or self.words)
            msgspec.structs.force_setattr(self, "words", UNSET)


def read_summary(record: Mapping[str, Any]) -> str:
    """Return the free text of a stored JSON record, whichever release wrote it."""
    return str(record.get("summary") or record.get("words") or "")
