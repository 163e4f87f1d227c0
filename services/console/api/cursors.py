"""Where a page of a list begins: the time and id of the last row of the one before."""

import base64
import binascii
from collections.abc import Callable
from datetime import datetime

from shared.errors import FieldError, InvalidRequest

Cursor = tuple[datetime, str]


def encode_cursor(at: datetime, key: object) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {key}".encode()).decode().rstrip("=")


def decode_cursor(text: str | None, read_key: Callable[[str], object] = str) -> Cursor | None:
    """Return what a cursor says. Raises: InvalidRequest: it is not one of ours, or `read_key` cannot read its id."""
    if not text:
        return None
    try:
        at, _, key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")
        when, key = datetime.fromisoformat(at), str(read_key(key))
    except (binascii.Error, ValueError):
        when, key = datetime.min, ""  # noqa: DTZ901 - refused below
    if when.tzinfo is None or not key or "\0" in key:
        raise InvalidRequest("after: not a place that a page of this list gave", errors=[FieldError("after", "")])
    return when, key
