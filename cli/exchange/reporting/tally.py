"""Counts of what was found in the files of an import, of what was refused and why, and of what was not said."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from cli.exchange.found import Found, Preferred, Refused, Replaced

EXAMPLES = 3
MOST_FIELDS = 50
"""Names that are counted one by one, of a reason; those of more are counted together."""
OTHERS = "(others)"


@dataclass
class FileCount:
    """Of one file: its records, those of which something was taken, and those of which nothing was, by reason."""

    records: int = 0
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass
class Tally:
    records: int = 0
    answers: int = 0
    feedback: Counter[str] = field(default_factory=Counter)
    """By type."""
    unsaid: Counter[str] = field(default_factory=Counter)
    """By field: of how many answers or feedback events the source does not say it."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    fields: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Reason -> of which field of the source it was said how often."""
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reason -> where the first three were, and what was wrong."""

    files: dict[int, FileCount] = field(default_factory=lambda: defaultdict(FileCount))
    """By the file's place among those that were named, from 0."""

    def count(self, found: Found, where: str, file: int = 0) -> None:
        """Count what was found in a record."""
        self.records += 1
        self.files[file].records += 1
        self.files[file].taken += bool(found.answers or found.feedback)
        self.answers += len(found.answers)
        for answer in found.answers:
            self._count_unsaid("answer", user=answer.user or answer.conversation, time=answer.at, model=answer.model)
        for one in found.feedback:
            self.feedback[name_type(one.says)] += 1
            self._count_unsaid("feedback", user=one.user, time=one.at)
        for refused in found.refused:
            self.count_refused(refused, where)

    def count_record(self, refused: Refused, where: str, file: int = 0) -> None:
        """Count a record of which nothing is imported."""
        self.records += 1
        self.files[file].records += 1
        self.files[file].refused[refused.reason] += 1
        self.count_refused(refused, where)

    def count_refused(self, refused: Refused, where: str) -> None:
        self.refused[refused.reason] += 1
        if refused.field:
            self._count_field(self.fields[refused.reason], _escape(refused.field))
        if len(self.examples[refused.reason]) < EXAMPLES:
            self.examples[refused.reason].append(f"{where}: {_escape(refused.detail)}")

    def _count_field(self, counted: Counter[str], name: str) -> None:
        counted[name if name in counted or len(counted) < MOST_FIELDS else OTHERS] += 1

    def _count_unsaid(self, kind: str, **fields: object) -> None:
        self.unsaid.update(f"{kind}.{name}" for name, value in fields.items() if value is None)

    def as_dict(self) -> dict[str, Any]:
        """Describe it for people and programs."""
        return {
            "records": self.records,
            "answers": self.answers,
            "feedback": dict(sorted(self.feedback.items())),
            "unsaid": dict(sorted(self.unsaid.items())),
            "refused": {
                reason: {"count": count, "fields": dict(self.fields.get(reason, {})), "examples": self.examples[reason]}
                for reason, count in sorted(self.refused.items())
            },
        }


def _escape(text: str) -> str:
    """What a terminal shows as it is: the file's own text may hold its control sequences."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


def name_type(says: object) -> str:
    """Name the type of feedback, as events do."""
    if isinstance(says, Preferred):
        return "choice"
    if isinstance(says, Replaced):
        return "regenerate"
    return str(type(says).__struct_config__.tag)  # type: ignore[attr-defined]
