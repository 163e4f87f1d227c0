"""What a run's row remembers of its job elsewhere."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

import msgspec


@dataclass(frozen=True, kw_only=True)
class RemoteRecord:
    launcher: str
    began: datetime
    """When the run was first started elsewhere; its limits count from here."""
    number: int = 1
    """Of its starts, this one."""
    handle: str | None = None
    """What the engine calls the job; None: it may not have been started yet."""
    evictions: int = 0
    reports: int = 0
    """So many of this start's reports have been passed on."""
    open: bool = True
    """Whether something of it may still run."""
    logs: str | None = None
    """A page for people."""

    def next_start(self) -> Self:
        """Return the record of the start after an eviction."""
        number, evictions = self.number + 1, self.evictions + 1
        return replace(self, number=number, evictions=evictions, handle=None, reports=0, logs=None)


def dump_record(record: RemoteRecord) -> dict[str, Any]:
    """Turn a record into JSON values."""
    content: dict[str, Any] = msgspec.to_builtins(asdict(record))
    return content


def parse_record(content: dict[str, Any] | None) -> RemoteRecord | None:
    """Parse what `dump_record` wrote; None for a run that was not started elsewhere, or whose job is over."""
    if not content or not content.get("open"):
        return None
    return msgspec.convert(content, RemoteRecord)
