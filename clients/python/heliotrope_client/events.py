"""Feedback events. Each has its id from the start, so that a retry is the same event."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from uuid import UUID, uuid4

Id = UUID | str


@dataclass(frozen=True)
class Event:
    """One reaction. `fields` are those of its type, as `POST /v1/feedback` takes them."""

    type: str
    interaction_id: str
    fields: dict[str, Any]
    user_id: str | None = None
    metadata: dict[str, Any] | None = None
    event_id: UUID = field(default_factory=uuid4)
    occurred_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    path: ClassVar[str] = "/v1/feedback"

    @property
    def item_id(self) -> UUID:
        return self.event_id

    def content(self) -> dict[str, Any]:
        """Return what is kept in a queue: the event without the time of its sending."""
        content = {
            "type": self.type,
            "event_id": str(self.event_id),
            "interaction_id": self.interaction_id,
            "occurred_at": self.occurred_at.isoformat(),
            **self.fields,
        }
        if self.user_id is not None:
            content["user_id"] = self.user_id
        if self.metadata is not None:
            content["metadata"] = self.metadata
        return content

    def body(self) -> dict[str, Any]:
        """Return what is posted now: `sent_at` lets ingest correct a clock that is wrong."""
        return {**self.content(), "sent_at": datetime.now(UTC).isoformat()}

    @classmethod
    def restore(cls, content: dict[str, Any]) -> "Event":
        """Make it of its `content()`."""
        fields = dict(content)
        kind, about, event_id = (fields.pop(name) for name in ("type", "interaction_id", "event_id"))
        at = datetime.fromisoformat(fields.pop("occurred_at"))
        user, metadata = fields.pop("user_id", None), fields.pop("metadata", None)
        return cls(kind, about, fields, user, metadata, UUID(event_id), at)


def thumb(
    interaction_id: Id,
    value: Literal["up", "down"],
    *,
    user_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Event:
    return Event("thumb", str(interaction_id), {"value": value}, user_id, metadata)


def rating(
    interaction_id: Id, value: int, *, user_id: str | None = None, metadata: dict[str, Any] | None = None
) -> Event:
    """Make a rating; `value` is 1 to 5."""
    return Event("rating", str(interaction_id), {"value": value}, user_id, metadata)


def choice(
    presented: Sequence[Id],
    preferred: Id | None,
    *,
    user_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Event:
    """Make a choice between two answers to one prompt, in the order in which they were shown; `preferred` None is a
    tie.
    """
    first, second = (str(interaction_id) for interaction_id in presented)
    verdict: dict[str, Any] = {"tie": True} if preferred is None else {"preferred_interaction_id": str(preferred)}
    fields = {"other_interaction_id": second, "presented_order": [first, second], **verdict}
    return Event("choice", first, fields, user_id, metadata)


def edit(interaction_id: Id, text: str, *, user_id: str | None = None, metadata: dict[str, Any] | None = None) -> Event:
    """Make an edit; `text` is the answer as the user would have it."""
    return Event("edit", str(interaction_id), {"text": text}, user_id, metadata)


def regenerate(
    interaction_id: Id, replacement: Id, *, user_id: str | None = None, metadata: dict[str, Any] | None = None
) -> Event:
    """Make a regeneration: the user asked for another answer, which is `replacement`."""
    fields = {"replacement_interaction_id": str(replacement)}
    return Event("regenerate", str(interaction_id), fields, user_id, metadata)


def complaint(
    interaction_id: Id,
    category: Literal["harmful", "wrong", "off_topic", "other"],
    text: str | None = None,
    *,
    user_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Event:
    fields = {"category": category} | ({} if text is None else {"text": text})
    return Event("complaint", str(interaction_id), fields, user_id, metadata)


def comment(
    interaction_id: Id, text: str, *, user_id: str | None = None, metadata: dict[str, Any] | None = None
) -> Event:
    return Event("comment", str(interaction_id), {"text": text}, user_id, metadata)


def retract(event: Event) -> Event:
    """Withdraw an earlier event of the same user."""
    return Event("retract", event.interaction_id, {"retracted_event_id": str(event.event_id)}, event.user_id)
