"""Where a page ends: a time and an id, as an opaque text for the client to send back."""

import base64
import binascii
from datetime import datetime

from shared.errors import FieldError, InvalidRequest

Cursor = tuple[datetime, str]


def encode_cursor(at: datetime, key: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {key}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Raises: InvalidRequest: it is not one of ours."""
    try:
        at, _, key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")
        when = datetime.fromisoformat(at)
    except (binascii.Error, ValueError):
        when, key = datetime.min, ""  # noqa: DTZ901 - refused below
    if when.tzinfo is None or not key or "\0" in key:
        message = "not a cursor that an earlier page gave"
        raise InvalidRequest(f"after: {message}", errors=[FieldError("after", message)])
    return when, key
