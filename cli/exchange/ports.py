"""The one port of all importers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cli.exchange.found import Found, Options

Record = Mapping[str, Any]
Reads = Callable[[Record, str, Any], bool]
"""Whether `read` answers for a record's member at this path (a.b[].c) of this value, if that looks like feedback: it
takes it, or refuses it with a reason.
"""


def name_read(*names: str) -> Reads:
    """Say by the last part of a member's name whether a source reads it."""
    known = frozenset(names)
    return lambda record, path, value: path.rsplit(".", 1)[-1].removesuffix("[]") in known


@dataclass(frozen=True)
class Listing:
    """Pages of records of a source's API, under `data`.

    The next page is asked for by the `cursor` of the last, by its `number`, or by the id `after` which it begins.
    """

    path: str
    params: Mapping[str, str]
    times: tuple[str, str] | None = None
    """The parameters for the earliest time and the time before which records were made; None: it takes none."""
    paging: Literal["cursor", "number", "after"] = "cursor"
    inside: tuple[str, str] | None = None
    """A member that is not listed, and the path of its own list, with {id}."""


@dataclass(frozen=True)
class Api:
    """A source's API, read stage by stage; of a stage the first listing that is there.

    The key is in `secret_variable`; with a `user_variable` beside it, it is sent as a password, else as a bearer token.
    """

    secret_variable: str
    stages: Sequence[Sequence[Listing]]
    user_variable: str | None = None


@dataclass(frozen=True)
class Importer:
    """How a source's records are read; `read` is pure.

    Raises (`read`): Refused: nothing of the record can be imported.
    """

    summary: str
    read: Callable[[Record, Options], Found]
    wrappers: tuple[str, ...] = ("data",)
    """Members of an object around the records in which their list may stand."""
    api: Api | None = None
    columns: tuple[str, ...] = ()
    """Of our fields, those that the operator can name with `--column`."""
    reads: Reads = lambda record, path, value: False
