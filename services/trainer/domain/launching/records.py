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
    gained: bool = False
    """Whether this start has stored a checkpoint."""
    fruitless: int = 0
    """So many of the last starts before this one ended without one."""
    losses: int = 0
    """So many starts ended without knowing why since the last checkpoint."""
    shrunk: int = 0
    """So often its micro-batch was made smaller, since memory ran out on one of several machines."""
    open: bool = True
    """Whether something of it may still run."""
    logs: str | None = None
    """A page for people."""
    refused_at: datetime | None = None
    """When the engine first had no room for this start; None: it has not said so."""
    keys: tuple[str, ...] = ()
    """The public halves of the keys with which its machines seal what they store; none: nothing is sealed."""

    def trust(self, key: str | None) -> Self:
        """Return the record with another public key; None: there is none."""
        return self if key is None or key in self.keys else replace(self, keys=(*self.keys, key))

    def next_start(self, ending: str) -> Self:
        """Return the record of the start after one that ended like this: `evicted`, `memory` or `lost`."""
        following = replace(self, number=self.number + 1, handle=None, reports=0, logs=None, gained=False)
        if ending == "memory":
            return replace(following, shrunk=self.shrunk + 1)
        losses = (0 if self.gained else self.losses) + (ending == "lost")
        fruitless = 0 if self.gained else self.fruitless + 1
        return replace(following, evictions=self.evictions + 1, fruitless=fruitless, losses=losses)


def dump_record(record: RemoteRecord) -> dict[str, Any]:
    """Turn a record into JSON values."""
    content: dict[str, Any] = msgspec.to_builtins(asdict(record))
    return content


def parse_record(content: dict[str, Any] | None) -> RemoteRecord | None:
    """Parse what `dump_record` wrote; None for a run that was not started elsewhere, or whose job is over."""
    if not content or not content.get("open"):
        return None
    return msgspec.convert(content, RemoteRecord)
