"""Errors name the fact and carry their HTTP status; `shared.problems` renders them as RFC 9457 problems."""

from dataclasses import dataclass
from typing import ClassVar

CLIENT_CLOSED_REQUEST = 499
"""The status, for logs and metrics alone, of a request whose client left before its answer (nginx's number)."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field of a request; `field` is a dotted path such as `events.3.value`."""

    field: str
    message: str


class HeliotropeError(Exception):
    """Base of every error that a caller may see."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, errors: list[FieldError] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []


def describe_error(error: Exception) -> str:
    """Describe an error in one line for people: our own by its detail, others by their type too."""
    return error.detail if isinstance(error, HeliotropeError) else f"{type(error).__name__}: {error}"


class InvalidRequest(HeliotropeError):
    status = 422
    title = "Invalid request"


class MalformedBody(HeliotropeError):
    status = 400
    title = "Malformed body"


class TooLarge(HeliotropeError):
    status = 413
    title = "Event too large"


class Unauthenticated(HeliotropeError):
    status = 401
    title = "Missing or unknown key"


class Forbidden(HeliotropeError):
    status = 403
    title = "Not allowed for this role"


class NotFound(HeliotropeError):
    status = 404
    title = "Not found"


class Conflict(HeliotropeError):
    status = 409
    title = "Conflict"


class TooManyRequests(HeliotropeError):
    status = 429
    title = "Too many requests"
    retry_after_seconds: int = 1


class Unavailable(HeliotropeError):
    """A dependency did not answer in time; the outcome may be unknown and a retry is safe."""

    status = 503
    title = "Unavailable"
    retry_after_seconds: ClassVar[int] = 2


class RecordRefused(HeliotropeError):
    """The broker, or its client, will never take this record; sending it again changes nothing."""

    status = 422
    title = "Record refused"

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        super().__init__(detail)
        self.too_large = too_large


class TopicRefused(Unavailable):
    """The topic takes no record of ours: it is missing, or we may not write to it."""

    title = "Topic refused"


class UndecodableEvent(HeliotropeError):
    """A record on the bus that is not one of the six events."""

    title = "Undecodable event"


class StaleClaim(HeliotropeError):
    """Another worker holds the run now; this one may write nothing more."""

    title = "Stale claim"
