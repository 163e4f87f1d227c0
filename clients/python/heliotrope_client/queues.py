"""What waits to be sent: bounded, in memory or in a file that outlives the process."""

import json
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Protocol
from uuid import UUID

from heliotrope_client.answers import MAX_BATCH, split
from heliotrope_client.errors import QueueFull
from heliotrope_client.events import Event
from heliotrope_client.interactions import Interaction
from heliotrope_client.items import Item

BUSY_SECONDS = 10.0


class Queue(Protocol):
    """Holds items in order until they are removed. May be shared by threads."""

    def add(self, item: Item) -> None:
        """Keep an item; one whose id is there already is there. Raises: QueueFull."""

    def peek(self) -> list[Item]:
        """Return the oldest that can be sent together; none: there are none."""

    def remove(self, items: Sequence[Item]) -> None:
        """Forget them."""

    def count(self) -> int:
        """Return how many wait."""

    def close(self) -> None: ...


def _measure(item: Item) -> tuple[str, int]:
    text = json.dumps(item.content())
    return text, len(text)


class MemoryQueue:
    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items: dict[UUID, tuple[Item, int]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, item: Item) -> None:
        _, size = _measure(item)
        with self._lock:
            if item.item_id in self._items:
                return
            _check_room(len(self._items), self._bytes + size, self._max_items, self._max_bytes)
            self._items[item.item_id] = (item, size)
            self._bytes += size

    def peek(self) -> list[Item]:
        with self._lock:
            oldest = [item for item, _ in islice(self._items.values(), MAX_BATCH)]
        return next(split(oldest), [])

    def remove(self, items: Sequence[Item]) -> None:
        with self._lock:
            for item in items:
                _, size = self._items.pop(item.item_id, (None, 0))
                self._bytes -= size

    def count(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Forget nothing: whoever holds the queue may go on."""


def _check_room(count: int, size: int, max_items: int, max_bytes: int) -> None:
    if count >= max_items or size > max_bytes:
        raise QueueFull(f"{count:,} wait already; at most {max_items:,}, and {max_bytes:,} bytes together")


class DiskQueue:
    """A SQLite file. What `add` kept is on the disk; several processes may share the file."""

    def __init__(self, path: Path | str, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE IF NOT EXISTS queued (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
            " path TEXT NOT NULL, bytes INTEGER NOT NULL, content TEXT NOT NULL);"
            "CREATE INDEX IF NOT EXISTS queued_bytes ON queued (bytes);"
        )

    def add(self, item: Item) -> None:
        text, size = _measure(item)
        with self._lock, closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                count, held = cursor.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM queued").fetchone()
                _check_room(count, held + size, self._max_items, self._max_bytes)
                row = (str(item.item_id), item.path, size, text)
                cursor.execute("INSERT OR IGNORE INTO queued (id, path, bytes, content) VALUES (?, ?, ?, ?)", row)
            finally:
                cursor.execute("COMMIT")

    def peek(self) -> list[Item]:
        with self._lock:
            rows = self._database.execute(
                "SELECT path, content FROM queued ORDER BY number LIMIT ?", (MAX_BATCH,)
            ).fetchall()
        return next(split(_restore(path, json.loads(content)) for path, content in rows), [])

    def remove(self, items: Sequence[Item]) -> None:
        ids = [(str(item.item_id),) for item in items]
        with self._lock, closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany("DELETE FROM queued WHERE id = ?", ids)
            cursor.execute("COMMIT")

    def count(self) -> int:
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM queued").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._database.close()


def _restore(path: str, content: dict[str, object]) -> Item:
    return Interaction.restore(content) if path == Interaction.path else Event.restore(content)


def open_queue(path: Path | str | None, max_items: int, max_bytes: int) -> Queue:
    """Open the queue of a file, or one in memory."""
    return MemoryQueue(max_items, max_bytes) if path is None else DiskQueue(path, max_items, max_bytes)
