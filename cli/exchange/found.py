"""What an importer finds in one record of a file: answers, and what was said of them, in the source's own ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.events import AnyFeedback, Message

LONGEST_DETAIL = 200
LONGEST_FIELD = 60


class Refused(Exception):
    """A record, or a part of it, cannot be imported; `reason` is a word to count, `detail` says what to do about it,
    `field` which field of the source it is about.
    """

    def __init__(self, reason: str, detail: str = "", field: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.field = reason, detail[:LONGEST_DETAIL], field[:LONGEST_FIELD]


@dataclass(frozen=True, slots=True)
class WrongTime:
    """What a source gives as a time, and is none that can be read, or none that can be."""

    said: str


Time = datetime | WrongTime | None
"""None: the source does not say it."""


@dataclass(frozen=True, slots=True)
class ImportedAnswer:
    """An answer; None is what the source does not say. `key` is unique within the source, `user` is in clear."""

    key: str
    messages: list[Message]
    text: str
    user: str | None = None
    conversation: str | None = None
    at: Time = None
    model: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tools: list[Any] | None = None
    """That the model was offered."""


@dataclass(frozen=True, slots=True)
class Preferred:
    """Of the answer and `other`, `key` is preferred; None: neither, a tie. `first` was shown first, if that is said."""

    other: str
    key: str | None
    first: str | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """The user asked for another answer, and got the one with key `by`."""

    by: str


@dataclass(frozen=True, slots=True)
class ImportedFeedback:
    """What somebody said of the answer with key `answer`."""

    key: str
    answer: str
    says: AnyFeedback | Preferred | Replaced
    user: str | None = None
    at: Time = None


@dataclass(frozen=True)
class Found:
    answers: list[ImportedAnswer] = field(default_factory=list)
    feedback: list[ImportedFeedback] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True)
class Scale:
    """The ends of a number that a source gives without saying what it means."""

    low: float
    high: float


@dataclass(frozen=True)
class Options:
    """What the operator says and the file does not."""

    scales: Mapping[str, Scale] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our field -> the file's column."""
