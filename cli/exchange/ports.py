"""The one port of all importers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cli.exchange.found import Found, Options

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Importer:
    """How a source's records are read; `read` is pure.

    Raises (`read`): Refused: nothing of the record can be imported.
    """

    summary: str
    read: Callable[[Record, Options], Found]
    wrappers: tuple[str, ...] = ("data",)
    """Members of an object around the records in which their list may stand."""
