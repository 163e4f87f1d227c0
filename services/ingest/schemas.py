"""HTTP bodies: the fields of each type of event, flat, beside those that every feedback event has."""

from datetime import datetime
from typing import Annotated, Any, Union, get_args, get_type_hints
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.events import AnyFeedback, Message

MAX_BATCH = 1_000

Name = Annotated[str, Meta(min_length=1, max_length=500)]
AwareTime = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset")]


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feedback event as clients send it; one subclass for each type, with that type's fields."""

    interaction_id: UUID
    event_id: UUID | None = None
    user_id: Name | None = None
    occurred_at: AwareTime | None = None
    sent_at: AwareTime | None = None
    """The client's clock when it sends, so that a wrong clock can be corrected."""
    metadata: dict[str, Any] | None = None

    def feedback(self) -> AnyFeedback:
        kind = KINDS[type(self)]
        feedback: AnyFeedback = kind(**{name: getattr(self, name) for name in kind.__struct_fields__})
        return feedback


def _flatten(kind: type[AnyFeedback]) -> type[FeedbackBody]:
    hints = get_type_hints(kind, include_extras=True)
    fields: list[Any] = [
        (field.name, hints[field.name]) if field.required else (field.name, hints[field.name], field.default)
        for field in msgspec.structs.fields(kind)
    ]
    return msgspec.defstruct(  # type: ignore[return-value]
        f"{kind.__name__}Body",
        fields,
        bases=(FeedbackBody,),
        tag_field="type",
        tag=kind.__struct_config__.tag,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": kind.__doc__},
    )


KINDS: dict[type[FeedbackBody], Any] = {_flatten(kind): kind for kind in get_args(AnyFeedback)}
AnyFeedbackBody: Any = Union[tuple(KINDS)]  # noqa: UP007 - of classes made here
FEEDBACK_TYPES: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyFeedback))


class InteractionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that was served without the gateway; `messages` is everything that the model saw."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    answer: str
    model_version: Name
    served_at: AwareTime
    interaction_id: UUID | None = None
    conversation_id: Name | None = None
    user_id: Name | None = None
    solicited: bool = False
    metadata: dict[str, Any] | None = None


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events of one kind, each decoded for itself, so that a wrong one harms no neighbour."""

    events: Annotated[list[msgspec.Raw], Meta(max_length=MAX_BATCH)]


class Accepted(msgspec.Struct, frozen=True):
    """The broker has stored the event."""

    event_id: UUID
    interaction_id: UUID | UnsetType = UNSET
    status: str = "accepted"


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457, with the wrong fields by name."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: list[dict[str, str]] | UnsetType = UNSET
    event_id: UUID | UnsetType = UNSET


class Outcome(msgspec.Struct, frozen=True):
    """What became of one event of a batch. `retry`: its outcome is unknown, send it again with this id."""

    outcome: str
    event_id: UUID | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET


class Outcomes(msgspec.Struct, frozen=True):
    outcomes: list[Outcome]
