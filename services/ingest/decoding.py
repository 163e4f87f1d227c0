"""From bytes to a body, or to an error that names the field."""

import re
from typing import Any, TypeVar, get_args

import msgspec

from services.ingest.domain.assessment import assess_characters
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

T = TypeVar("T")

_feedback: msgspec.json.Decoder[FeedbackBody] = msgspec.json.Decoder(AnyFeedbackBody)
_interaction = msgspec.json.Decoder(InteractionBody)
_batch = msgspec.json.Decoder(Batch)

# "Expected `int`, got `str` - at `$.events[3].value`", "Object missing required field `text`"
_REASON = re.compile(r"(?P<words>.*?)(?: - at `\$?(?P<path>.*)`)?", re.DOTALL)
_NAMED = re.compile(r"Object (?P<words>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_INDEX = re.compile(r"\[(\d+)\]")


def decode_feedback(raw: bytes | msgspec.Raw) -> FeedbackBody:
    """Raises: MalformedBody, InvalidRequest."""
    return _decode(_feedback, raw)


def decode_interaction(raw: bytes | msgspec.Raw) -> InteractionBody:
    """Raises: MalformedBody, InvalidRequest."""
    return _decode(_interaction, raw)


def decode_batch(raw: bytes) -> list[msgspec.Raw]:
    """The events of a batch, not yet decoded. Raises: MalformedBody, InvalidRequest."""
    return _decode(_batch, raw).events


def make_invalid(errors: list[FieldError]) -> InvalidRequest:
    return InvalidRequest("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T:
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
    """msgspec's words as a field and what is wrong with it."""
    match = _REASON.fullmatch(reason)
    words, path = (match["words"], match["path"] or "") if match else (reason, "")
    parts = [part for part in _INDEX.sub(r".\1", path).replace("[...]", "").split(".") if part]
    if named := _NAMED.fullmatch(words):
        parts.append(named["name"])
        words = "is missing" if named["words"] == "missing required" else "is not a field of this body"
    field = ".".join(parts) or "body"
    return FieldError(field, _ALLOWED.get((field, words.split(" '")[0]), words))


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
