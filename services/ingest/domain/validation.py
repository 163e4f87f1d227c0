"""From bytes to a valid body, or to an error that names the field: first the types, then what they cannot say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar, get_args
from uuid import UUID

import msgspec

from services.ingest.schemas import (
    FEEDBACK_TYPES,
    KINDS,
    MAX_BATCH,
    AnyFeedbackBody,
    Batch,
    FeedbackBody,
    InteractionBody,
)
from shared.errors import FieldError, InvalidRequest, MalformedBody
from shared.events import AnyFeedback, Choice, Regenerate
from shared.json_depth import check_depth

T = TypeVar("T")
MOST_ERRORS = 20
"""Told of one body: its sender chooses how many there are, and how long their names."""
LONGEST_NAME = 64

_feedback: msgspec.json.Decoder[FeedbackBody] = msgspec.json.Decoder(AnyFeedbackBody)
_interaction = msgspec.json.Decoder(InteractionBody)
_batch = msgspec.json.Decoder(Batch)

# "Expected `int`, got `str` - at `$.events[3].value`", "Object missing required field `text`"
_NAMED = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_INDEX = re.compile(r"\[(\d+)\]")


def decode_feedback(raw: bytes | msgspec.Raw) -> FeedbackBody:
    """Decode a feedback event. Raises: MalformedBody, InvalidRequest."""
    return _decode(_feedback, raw)


def decode_interaction(raw: bytes | msgspec.Raw) -> InteractionBody:
    """Decode an interaction. Raises: MalformedBody, InvalidRequest."""
    return _decode(_interaction, raw)


def decode_batch(raw: bytes) -> list[msgspec.Raw]:
    """Return the events of a batch, not yet decoded. Raises: MalformedBody, InvalidRequest."""
    return _decode(_batch, raw).events


def make_invalid(errors: list[FieldError]) -> InvalidRequest:
    return InvalidRequest("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T:
    if decoder is not _batch:  # whose events are decoded each for itself
        check_depth(bytes(raw))
    try:
        body = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise make_invalid([_describe(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBody("the body is not valid JSON") from None
    may_hold_zero = not isinstance(body, Batch) and b"\\u0000" in bytes(raw)
    if may_hold_zero and (errors := assess_characters(msgspec.to_builtins(body))):
        raise make_invalid(errors)
    return body


def _describe(reason: str) -> FieldError:
    """Split msgspec's message into a field and what is wrong with it."""
    message, at, path = reason.removesuffix("`").rpartition(" - at `")
    if not at:
        message, path = reason, ""
    parts = [part for part in _INDEX.sub(r".\1", path.removeprefix("$")).replace("[...]", "").split(".") if part]
    if named := _NAMED.fullmatch(message):
        parts.append(named["name"])
        message = "is missing" if named["what"] == "missing required" else "is not a field of this body"
    field = ".".join(parts) or "body"
    return FieldError(field, _ALLOWED.get((field, message.split(" '")[0]), message))


def _allow(choices: Any) -> str:
    return f"must be one of {', '.join(choices)}"


_ALLOWED: dict[tuple[str, str], str] = {
    ("type", "Invalid value"): _allow(FEEDBACK_TYPES),
    ("events", f"Expected `array` of length <= {MAX_BATCH}"): f"may hold at most {MAX_BATCH} events",
}
for _kind in KINDS.values():
    for _field in msgspec.structs.fields(_kind):
        if all(isinstance(choice, str) for choice in get_args(_field.type)) and get_args(_field.type):
            _ALLOWED[_field.name, "Invalid enum value"] = _allow(get_args(_field.type))


EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
"""Nothing that is learnt from is older; a time before it is a broken clock, or meant to break a reader."""


@dataclass(frozen=True)
class TimeLimits:
    """How far from now a client's times may be; `oldest` None takes any age since 2015."""

    future_skew: timedelta
    oldest: timedelta | None
    future: timedelta = timedelta(hours=24)
    """A client's clock may be ahead by this much; the time of reception then stands in for what it says."""


def assess_feedback(feedback: AnyFeedback, interaction_id: UUID) -> list[FieldError]:
    """List what is wrong with a well-formed feedback event.

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
    """List a time ahead of now beyond the clock's skew, older than the limit, or before 2015."""
    if at is None:
        return []
    if at > now + limits.future_skew:
        return [FieldError(field, f"is in the future by more than {limits.future_skew.total_seconds():g} s")]
    if limits.oldest is not None and at < now - limits.oldest:
        return [FieldError(field, f"is older than {limits.oldest.total_seconds() / 86_400:g} days")]
    if at < EARLIEST:
        return [FieldError(field, "is before 2015")]
    return []


def calculate_clock_offset(
    occurred_at: datetime | None, sent_at: datetime | None, now: datetime, limits: TimeLimits
) -> timedelta:
    """Return what to add to `occurred_at` so that a client's wrong clock does not matter.

    - with `sent_at`, the client's clock when it sent: the difference to ours, if it is beyond the skew
    - without, a time ahead of now by more than the skew but at most 24 hours: the time of reception counts
    - the corrected time is never ahead of now
    """
    if occurred_at is None:
        return timedelta()
    ahead = occurred_at - now
    if sent_at is None:
        return -ahead if limits.future_skew < ahead <= limits.future else timedelta()
    skew = now - sent_at
    offset = skew if abs(skew) > limits.future_skew else timedelta()
    return min(offset, -ahead) if ahead + offset > timedelta() else offset


def assess_messages(messages: list[dict[str, Any]]) -> list[FieldError]:
    """List the messages without a role, `MOST_ERRORS` at most."""
    wrong = (
        index
        for index, message in enumerate(messages)
        if not isinstance(message.get("role"), str) or not message["role"]
    )
    told = "must be a string such as user or assistant"
    return [FieldError(f"messages.{index}.role", told) for index in islice(wrong, MOST_ERRORS)]


def assess_characters(value: Any) -> list[FieldError]:
    """List the strings with U+0000, which Postgres can store in neither text nor JSON; `MOST_ERRORS` at most."""
    told = "may not contain the character U+0000"
    return [FieldError(_name_path(path), told) for path in islice(_find_zeros(value, ()), MOST_ERRORS)]


def _find_zeros(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    match value:
        case str() if "\0" in value:
            yield path
        case dict():
            if any("\0" in key for key in value):
                yield path
            for key, item in value.items():
                if "\0" not in key:
                    yield from _find_zeros(item, (*path, key))
        case list():
            for index, item in enumerate(value):
                yield from _find_zeros(item, (*path, str(index)))


def _name_path(path: tuple[str, ...]) -> str:
    """Join a path; names of members are the sender's, of any length."""
    return ".".join(part if len(part) <= LONGEST_NAME else f"{part[:LONGEST_NAME]}..." for part in path)
