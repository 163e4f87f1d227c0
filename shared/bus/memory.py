"""The bus in memory: for tests that need no server, with the promises of the real one."""

import threading
import zlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future

from msgspec import structs

from shared.bus import Gap, Record, Settle


class MemoryBroker:
    """Topics with partitions, and the offsets that groups have committed."""

    def __init__(self, partitions: int = 3) -> None:
        self._partitions = partitions
        self._logs: dict[str, list[list[Record]]] = defaultdict(lambda: [[] for _ in range(partitions)])
        self._committed: dict[tuple[str, str, int], int] = {}
        self._changed = threading.Condition()

    def append(self, record: Record) -> None:
        partition = zlib.crc32(record.key) % self._partitions
        with self._changed:
            log = self._logs[record.topic][partition]
            log.append(structs.replace(record, partition=partition, offset=len(log)))
            self._changed.notify_all()

    def read(
        self, positions: dict[tuple[str, int], int], topics: list[str], limit: int, timeout_seconds: float
    ) -> list[Record]:
        """Return up to `limit` records from the positions on, moving them; wait for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending(positions, topics), timeout_seconds)
            records: list[Record] = []
            for topic in topics:
                for partition, log in enumerate(self._logs[topic]):
                    position = positions.get((topic, partition), 0)
                    taken = log[position : position + limit - len(records)]
                    positions[topic, partition] = position + len(taken)
                    records.extend(taken)
            return records

    def count_pending(self, positions: dict[tuple[str, int], int], topics: list[str]) -> int:
        with self._changed:
            return self._pending(positions, topics)

    def _pending(self, positions: dict[tuple[str, int], int], topics: list[str]) -> int:
        return sum(
            len(log) - positions.get((topic, partition), 0)
            for topic in topics
            for partition, log in enumerate(self._logs[topic])
        )

    def load_committed(self, group: str, topics: list[str]) -> dict[tuple[str, int], int]:
        with self._changed:
            return {
                (topic, partition): self._committed.get((group, topic, partition), 0)
                for topic in topics
                for partition in range(self._partitions)
            }

    def save_committed(self, group: str, positions: dict[tuple[str, int], int]) -> None:
        with self._changed:
            for (topic, partition), offset in positions.items():
                self._committed[group, topic, partition] = offset

    def records(self, topic: str) -> list[Record]:
        """Return everything on a topic, partition by partition."""
        with self._changed:
            return [record for log in self._logs[topic] for record in log]


class MemoryProducer:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def send(self, record: Record) -> "Future[None]":
        self._broker.append(record)
        stored: Future[None] = Future()
        stored.set_result(None)
        return stored

    def deliver(self, records: Sequence[Record], settle: Settle) -> None:
        for index, record in enumerate(records):
            self._broker.append(record)
            settle(index, None)

    def close(self, timeout_seconds: float) -> None:
        """Close; nothing waits."""


class MemoryConsumer:
    """One member of a group; alone in it, since the memory bus does not rebalance."""

    def __init__(self, broker: MemoryBroker, topics: list[str], group: str | None, *, max_records: int = 500) -> None:
        self._broker = broker
        self._topics = topics
        self._group = group
        self._max_records = max_records
        self._positions = broker.load_committed(group, topics) if group else {}

    def poll(self, timeout_seconds: float) -> list[Record]:
        return self._broker.read(self._positions, self._topics, self._max_records, timeout_seconds)

    def commit(self) -> None:
        if self._group:
            self._broker.save_committed(self._group, dict(self._positions))

    def lag(self) -> int:
        return self._broker.count_pending(self._positions, self._topics)

    def read_errors(self) -> dict[str, bool]:
        return {}

    def take_gaps(self) -> list[Gap]:
        return []

    def close(self) -> None:
        """Close; there is nothing to leave."""
