"""A local, fsynced queue of records for the bus: what it took survives the process, and the machine's power."""

import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import structlog

from services.gateway.metrics import SPOOL_ROWS
from shared.bus import Record

logger = structlog.get_logger(__name__)

GROUP = 500
CHECK_DEADLINE_SECONDS = 2.0
WIPING_SECONDS = 1.0
"""Of quiet, after which nothing of what was deleted is left in the files."""
RECORDS = """
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    headers TEXT NOT NULL
)
"""
REFUSED = """
CREATE TABLE IF NOT EXISTS refused (
    sequence INTEGER PRIMARY KEY, topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, headers TEXT NOT NULL,
    reason TEXT NOT NULL, refused_at TEXT NOT NULL
)
"""
"""What the bus will never take as it is; `heliotrope dead-letters` lists it and hands it back."""
SET_ASIDE = """
INSERT INTO refused SELECT sequence, topic, key, value, headers, ?, ? FROM records WHERE sequence = ?
"""
COUNT = "SELECT count(*), coalesce(sum(length(value)), 0) FROM"
DELETE = "DELETE FROM records WHERE sequence = ?"


class SpoolFull(Exception):
    """As many rows or bytes wait as may wait."""


def _wipe(connection: sqlite3.Connection | None) -> bool:
    """Leave nothing in the write-ahead log of what was deleted; False while a reader is in the way."""
    try:
        return connection is None or connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    except sqlite3.Error:
        return False


class Write:
    """One change, and the future that resolves when it is on disk."""

    def __init__(self, rows: int, size: int, apply: Callable[[sqlite3.Connection], object]) -> None:
        self.rows = rows
        self.size = size
        self.apply = apply
        self.done: Future[None] = Future()


class Spool:
    """SQLite in WAL mode, synchronous=FULL: one thread writes, and one fsync serves all who wait meanwhile."""

    def __init__(self, path: Path, *, max_rows: int, max_bytes: int) -> None:
        self._path = path
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._rows = self._bytes = 0
        self._aside_rows = self._aside_bytes = 0  # refused: it takes up room until it was handed back
        self._failed = False
        self._counting = threading.Lock()
        self._writes: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="spool", daemon=True)
        self.arrived = threading.Event()
        """Set when there is something to read."""

    def start(self) -> None:
        """Open the file and count what an earlier process left.

        Raises:
            sqlite3.Error: it cannot be opened.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.touch(mode=0o600)
        connection = self._connect()
        with connection:
            connection.execute(RECORDS)
            connection.execute(REFUSED)
        rows, size = connection.execute(f"{COUNT} records").fetchone()
        self._aside_rows, self._aside_bytes = connection.execute(f"{COUNT} refused").fetchone()
        connection.close()
        self._count(rows, size)
        self.arrived.set()
        self._writer.start()

    def put(self, records: Sequence[Record]) -> "Future[None]":
        """Queue records; the future resolves when all of them are on disk, or fails with sqlite3.Error.

        Raises:
            SpoolFull: there is no room for them.
        """
        rows = [(record.topic, record.key, record.value, json.dumps(record.headers)) for record in records]
        size = sum(len(record.value) for record in records)
        with self._counting:
            held_rows, held_bytes = self._rows + self._aside_rows, self._bytes + self._aside_bytes
            if held_rows + len(rows) > self._max_rows or held_bytes + size > self._max_bytes:
                raise SpoolFull
        insert = "INSERT INTO records (topic, key, value, headers) VALUES (?, ?, ?, ?)"
        return self._queue(Write(len(rows), size, lambda connection: connection.executemany(insert, rows)))

    def remove(self, rows: Sequence[tuple[int, Record]]) -> "Future[None]":
        """Forget what `read` gave and the bus has stored."""
        sequences = [(sequence,) for sequence, _ in rows]
        size = sum(len(record.value) for _, record in rows)
        return self._queue(Write(-len(rows), -size, lambda connection: connection.executemany(DELETE, sequences)))

    def put_aside(self, rows: Sequence[tuple[int, Record]], reasons: Sequence[str]) -> "Future[None]":
        """Keep apart what `read` gave and the bus will never take; it is not read again."""
        at = datetime.now(UTC).isoformat()
        moves = [(reason, at, sequence) for (sequence, _), reason in zip(rows, reasons, strict=True)]
        size = sum(len(record.value) for _, record in rows)

        def apply(connection: sqlite3.Connection) -> None:
            connection.executemany(SET_ASIDE, moves)
            connection.executemany(DELETE, [(sequence,) for sequence, _ in rows])

        with self._counting:
            self._aside_rows += len(rows)
            self._aside_bytes += size
        return self._queue(Write(-len(rows), -size, apply))

    def forget_refused(self, before: datetime) -> "Future[None]":
        """Delete what was put aside before then: raw copies of what users said are kept for so long."""

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM refused WHERE refused_at < ?", (before.isoformat(),))
            rows, size = connection.execute(f"{COUNT} refused").fetchone()
            with self._counting:
                self._aside_rows, self._aside_bytes = rows, size

        return self._queue(Write(0, 0, apply))

    def read(self, limit: int, without_topics: Sequence[str] = ()) -> list[tuple[int, Record]]:
        """Return the oldest records with their sequence numbers."""
        connection = self._connect()
        marks = ",".join("?" * len(without_topics))
        query = (
            f"SELECT sequence, topic, key, value, headers FROM records WHERE topic NOT IN ({marks}) "
            "ORDER BY sequence LIMIT ?"
        )
        try:
            return [
                (sequence, Record(topic, key, value, json.loads(headers)))
                for sequence, topic, key, value, headers in connection.execute(query, (*without_topics, limit))
            ]
        finally:
            connection.close()

    def count(self) -> int:
        with self._counting:
            return self._rows

    def check(self) -> None:
        """Raise when nothing can be recorded; after a failure that is tried, since nobody may be asking us any more."""
        if not self._writer.is_alive():
            raise ConnectionError("the spool's writer is not running")
        if self._failed:
            self._queue(Write(0, 0, lambda connection: connection.execute("PRAGMA user_version = 1"))).result(
                CHECK_DEADLINE_SECONDS
            )

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._writes.put(None)
        self._writer.join(10)

    def _queue(self, write: Write) -> "Future[None]":
        if write.rows > 0:
            self._count(write.rows, write.size)
        self._writes.put(write)
        return write.done

    def _count(self, rows: int, size: int) -> None:
        with self._counting:
            self._rows += rows
            self._bytes += size
            SPOOL_ROWS.set(self._rows)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        return connection

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        closing = wiped = False
        while not closing:
            try:
                group, closing = self._take_group(None if wiped else WIPING_SECONDS)
            except queue.Empty:
                wiped = self.count() > 0 or _wipe(connection)
                continue
            wiped = False
            try:
                connection = connection or self._connect()
                with connection:
                    for write in group:
                        write.apply(connection)
            except sqlite3.Error as error:
                logger.error("spool_failed", error=repr(error), writes=len(group))
                self._failed = True
                self._settle(group, error)
                if connection:
                    connection.close()
                connection = None
            else:
                self._failed = False
                self._settle(group, None)
                self.arrived.set()
        if connection:
            connection.close()

    def _take_group(self, patience_seconds: float | None) -> tuple[list[Write], bool]:
        """Everything that waits, up to a bound; and whether the spool is closing.

        Raises:
            queue.Empty: there was nothing for so long.
        """
        group: list[Write] = []
        write = self._writes.get(timeout=patience_seconds)
        while write is not None:
            group.append(write)
            if len(group) == GROUP or self._writes.empty():
                return group, False
            write = self._writes.get()
        return group, True

    def _settle(self, group: list[Write], error: sqlite3.Error | None) -> None:
        for write in group:
            if error is None:
                if write.rows < 0:
                    self._count(write.rows, write.size)
                write.done.set_result(None)
            else:
                if write.rows > 0:
                    self._count(-write.rows, -write.size)
                write.done.set_exception(error)
