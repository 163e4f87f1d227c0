"""What importers find, as events: under ids that follow from the import's name and the source's own ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid5

from cli.exchange.found import (
    Found,
    ImportedAnswer,
    ImportedFeedback,
    Preferred,
    Refused,
    Replaced,
    Time,
    WrongTime,
)
from services.ingest.domain.validation import EARLIEST
from shared.events import (
    IMPORT_KEY_ID,
    AnyFeedback,
    Choice,
    FeedbackReceived,
    InteractionRecorded,
    Regenerate,
)
from shared.recording import hash_attachments
from shared.user_hashes import UserHashes

NAMESPACE = UUID("6f1b2a4e-4c1d-5b0a-9d3e-2f7c8a1e5b60")
"""Of the ids that follow from content."""

END = datetime.max.replace(tzinfo=UTC)
REMEMBERED_IDS = 1_000
"""An answer's id is needed again by what is said of it, which mostly follows at once."""

AnyEvent = InteractionRecorded | FeedbackReceived


class SecretMissing(Exception):
    """Users cannot be hashed."""


@dataclass(frozen=True)
class Import:
    """One import: the unit that is repeated without effect, and taken back as a whole."""

    name: str
    tool: str
    at: datetime
    """Stands in for times that the source does not say."""
    hashes: UserHashes | None = None
    """How the deployment hashes users."""
    latest: datetime = END
    """What is said to be of later has a wrong time."""

    def check_times(self, found: Found) -> Found:
        """Mark the times that are none, or cannot be, as wrong, and count each as refused; what has one is undated."""
        dated: list[ImportedAnswer | ImportedFeedback] = [*found.answers, *found.feedback]
        if not any(self._is_wrong(one.at) for one in dated):
            return found
        answers = [replace(one, at=self._check_time(one.at)) for one in found.answers]
        feedback = [replace(one, at=self._check_time(one.at)) for one in found.feedback]
        wrong = [*_refuse_times("answer.time", answers), *_refuse_times("feedback.time", feedback)]
        return Found(answers, feedback, [*found.refused, *wrong])

    def _check_time(self, at: Time) -> Time:
        return WrongTime(at.isoformat()) if isinstance(at, datetime) and self._is_wrong(at) else at

    def _is_wrong(self, at: Time) -> bool:
        return isinstance(at, WrongTime) or (at is not None and not EARLIEST <= at <= self.latest)

    def derive_id(self, kind: str, key: str) -> UUID:
        return _derive_id(self.name, self.tool, kind, key)

    def derive_events(self, found: Found) -> Iterator[AnyEvent]:
        """Derive answers first, then what was said of them.

        Raises: SecretMissing: there is a user, and no secret to hash it with.
        """
        publish = (self.hashes or UserHashes("")).publish
        yield from (publish(self._derive_interaction(answer)) for answer in found.answers)
        yield from (publish(self._derive_feedback(one)) for one in found.feedback)

    def _derive_interaction(self, answer: ImportedAnswer) -> InteractionRecorded:
        conversation = answer.conversation
        return InteractionRecorded(
            interaction_id=self.derive_id("answer", answer.key),
            messages=hash_attachments(answer.messages),
            answer=answer.text,
            model_version=f"imported:{self.name}",
            served_at=_read_known(answer.at) or self.at,
            key_id=IMPORT_KEY_ID,
            user=self._draw_user(answer.user, conversation),
            conversation_id=self._draw_user(None, conversation),
            error=answer.error,
            finish_reason=answer.finish_reason,
            tool_calls=answer.tool_calls,
            metadata=self._describe(answer.key, answer.at, {"model": answer.model})
            | ({"finish_reason": answer.finish_reason} if answer.finish_reason else {})
            | ({"tools": answer.tools} if answer.tools else {}),
        )

    def _derive_feedback(self, one: ImportedFeedback) -> FeedbackReceived:
        at = _read_known(one.at) or self.at
        return FeedbackReceived(
            event_id=self.derive_id("feedback", one.key),
            interaction_id=self.derive_id("answer", one.answer),
            feedback=self._derive_body(one),
            received_at=at,
            occurred_at=at,
            key_id=IMPORT_KEY_ID,
            user=self._draw_user(one.user, None),
            metadata=self._describe(one.key, one.at, {}),
        )

    def _derive_body(self, one: ImportedFeedback) -> AnyFeedback:
        match one.says:
            case Preferred(other=other, key=key, first=first):
                one_id, other_id = (self.derive_id("answer", of) for of in (one.answer, other))
                order = sorted([one_id, other_id])  # unknown, and so without a bias of its own
                if first is not None:
                    order = [one_id, other_id] if first == one.answer else [other_id, one_id]
                preferred = None if key is None else self.derive_id("answer", key)
                return Choice(
                    other_interaction_id=other_id,
                    presented_order=order,
                    preferred_interaction_id=preferred,
                    tie=preferred is None,
                )
            case Replaced(by=by):
                return Regenerate(replacement_interaction_id=self.derive_id("answer", by))
            case said:
                return said

    def _describe(self, key: str, at: Time, more: dict[str, str | None]) -> dict[str, Any]:
        """Where it comes from; `undated` where the time is not the source's."""
        said = {name: value for name, value in more.items() if value is not None}
        undated = {} if _read_known(at) else {"undated": True}
        return {"imported": {"source": self.name, "tool": self.tool, "record": key, **said, **undated}}

    def _draw_user(self, user: str | None, conversation: str | None) -> str | None:
        if not (user or conversation):
            return None
        if self.hashes is None:
            raise SecretMissing("there are users in it: set HELIOTROPE_USER_HASH_SECRET to the deployment's secret")
        return self.hashes.draw(user, conversation)


def _read_known(at: Time) -> datetime | None:
    return at if isinstance(at, datetime) else None


def _refuse_times(field: str, dated: Sequence[ImportedAnswer | ImportedFeedback]) -> Iterator[Refused]:
    for one in dated:
        if isinstance(one.at, WrongTime):
            what = f"{one.at.said!r} is no time, is before {EARLIEST.year}, or later than now: it is left out"
            yield Refused("no_time", what, field)


@lru_cache(REMEMBERED_IDS)
def _derive_id(*parts: str) -> UUID:
    return uuid5(NAMESPACE, "\0".join(parts).encode())  # type: ignore[arg-type]
