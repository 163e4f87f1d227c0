"""What is wrong with a submission that is well-formed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.errors import FieldError
from shared.events import AnyFeedback, Choice, Regenerate


@dataclass(frozen=True)
class TimeLimits:
    """How far from now a client's times may be; `oldest` None takes any age."""

    future_skew: timedelta
    oldest: timedelta | None


def assess_feedback(feedback: AnyFeedback, interaction_id: UUID) -> list[FieldError]:
    """What the types alone cannot say.

    - a choice is between two different answers;
    - it has a preferred one, or is a tie, never both;
    - the preferred one is one of the two, and so are the two presented ones;
    - a replacement is another answer than the one it replaces.
    """
    match feedback:
        case Choice():
            return _assess_choice(feedback, interaction_id)
        case Regenerate(replacement_interaction_id=replacement) if replacement == interaction_id:
            return [FieldError("replacement_interaction_id", "must be another interaction than interaction_id")]
    return []


def _assess_choice(choice: Choice, interaction_id: UUID) -> list[FieldError]:
    both = {interaction_id, choice.other_interaction_id}
    if len(both) == 1:
        return [FieldError("other_interaction_id", "must be another interaction than interaction_id")]
    errors = []
    if choice.tie == (choice.preferred_interaction_id is not None):
        errors.append(FieldError("preferred_interaction_id", "give exactly one of preferred_interaction_id and tie"))
    elif choice.preferred_interaction_id is not None and choice.preferred_interaction_id not in both:
        errors.append(FieldError("preferred_interaction_id", "must be interaction_id or other_interaction_id"))
    if set(choice.presented_order) != both:
        errors.append(FieldError("presented_order", "must hold interaction_id and other_interaction_id, once each"))
    return errors


def assess_time(field: str, at: datetime | None, now: datetime, limits: TimeLimits) -> list[FieldError]:
    """A client's time is not in the future, beyond its clock's skew, nor older than the limit."""
    if at is None:
        return []
    if at > now + limits.future_skew:
        return [FieldError(field, f"is in the future by more than {limits.future_skew.total_seconds():g} s")]
    if limits.oldest is not None and at < now - limits.oldest:
        return [FieldError(field, f"is older than {limits.oldest.total_seconds() / 86_400:g} days")]
    return []


def assess_messages(messages: list[dict[str, Any]]) -> list[FieldError]:
    """Every message has a role."""
    return [
        FieldError(f"messages.{index}.role", "must be a string such as user or assistant")
        for index, message in enumerate(messages)
        if not isinstance(message.get("role"), str) or not message["role"]
    ]


def assess_characters(value: Any, path: str = "") -> list[FieldError]:
    """No U+0000 anywhere: Postgres can store it in neither text nor JSON."""
    match value:
        case str() if "\0" in value:
            return [FieldError(path, "may not contain the character U+0000")]
        case dict():
            wrong_key = [FieldError(path, "may not contain the character U+0000") for key in value if "\0" in key][:1]
            return wrong_key + [
                error
                for key, item in value.items()
                if "\0" not in key
                for error in assess_characters(item, _join(path, key))
            ]
        case list():
            return [
                error for index, item in enumerate(value) for error in assess_characters(item, _join(path, str(index)))
            ]
    return []


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
