"""Who was erased, beside the datasets and outside the database: a backup of Postgres that is older than an erasure
holds the user's words and knows nothing of it."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ERASURES, WITHDRAWALS = "erasures.jsonl", "withdrawals.jsonl"


@dataclass(frozen=True)
class JournalEntry:
    user: str
    """The keyed hash, as in the erasure ledger; among withdrawals, the import's name."""
    requested_by: str


@dataclass(frozen=True)
class ErasureJournal:
    """A line for each erased user (or withdrawn import), only ever appended to."""

    folder: Path
    name: str = ERASURES

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def append(self, entry: JournalEntry) -> None:
        """Append a user, once; the line is on disk when this returns.

        Raises:
            OSError: it could not be written.
        """
        if entry.user in {known.user for known in self.read()}:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b") as file:
            file.seek(0, os.SEEK_END)
            torn = file.tell() > 0 and not self._ends_with_a_line(file.tell())
            file.write((b"\n" if torn else b"") + json.dumps(asdict(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _ends_with_a_line(self, size: int) -> bool:
        with self.path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    def read(self) -> Iterator[JournalEntry]:
        """Read every entry, but for a line that a crash tore."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                yield JournalEntry(**json.loads(line))
            except (ValueError, TypeError):
                continue
