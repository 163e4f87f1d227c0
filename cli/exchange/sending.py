"""Sends an import to the broker, a batch at a time, and remembers how far it came."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cli.exchange.apis.fetching import Page
from cli.exchange.events import AnyEvent
from cli.exchange.found import Refused
from cli.exchange.walking import FAULTS, Place
from local.errors import StackFailed
from shared.bus import Record, encode

ACK_DEADLINE_SECONDS = 30.0
IN_FLIGHT = 4_000
ZERO, ESCAPES = b"\\u0000", re.compile(rb"(?<!\\)(\\++)u0000")
LARGEST_RECORD = 1_000_000
"""Bytes: what brokers take unless they are told otherwise."""


class Producer(Protocol):
    def send(self, record: Record) -> "Future[None]": ...


@dataclass(frozen=True)
class Checkpoint:
    """How far an import came: the place of the last record that is stored for certain."""

    path: Path

    @classmethod
    def find(cls, home: Path, name: str, source: str, files: Sequence[Path], api: Sequence[str] = ()) -> "Checkpoint":
        """Find that of these very files (another size or time of change is another file), or of this API, asked so."""
        stats = [*api, *((str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in files)]
        digest = hashlib.sha256(json.dumps([name, source, stats]).encode()).hexdigest()[:32]
        return cls(home / "imports" / f"{digest}.json")

    def load(self) -> Place:
        try:
            found = json.loads(self.path.read_text())
            page = Page(**found["page"]) if found.get("page") else None
            return Place(int(found["file"]), int(found["record"]), page=page)
        except (OSError, ValueError, KeyError, TypeError):
            return Place(0, 0)

    def save(self, place: Place) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = self.path.with_suffix(".new")
        page = place.page.as_dict() if place.page else None
        written.write_text(json.dumps({"file": place.file, "record": place.record, "page": page}))
        written.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


@contextmanager
def at_the_cost_of_one_record() -> Iterator[None]:
    """Turn what a record of a shape that nobody thought of raises into a refusal of that record."""
    try:
        yield
    except UnicodeEncodeError:
        raise Refused("not_utf8", "half a character (a lone surrogate), which no UTF-8 holds") from None
    except FAULTS as error:
        raise Refused("unreadable", f"{type(error).__name__}: {error}") from None


def encode_all(events: Iterable[AnyEvent], topic_prefix: str = "") -> list[Record]:
    """Encode what came of one record.

    Raises: Refused: a part of it cannot be sent: too large for the broker, or of what no JSON can hold.
    """
    with at_the_cost_of_one_record():
        records = [encode(event, source="import", topic_prefix=topic_prefix) for event in events]
    if any(_holds_zero(record.value) for record in records):
        raise Refused("zero_character", "a text holds the character U+0000, which the database cannot store")
    largest = max((len(record.value) for record in records), default=0)
    if largest > LARGEST_RECORD:
        raise Refused("too_large", f"{largest:,} bytes; a broker takes {LARGEST_RECORD:,}")
    return records


def _holds_zero(value: bytes) -> bool:
    """Whether there is a zero character in JSON: its escape, behind no backslash of its own."""
    return ZERO in value and any(len(before) % 2 for before in ESCAPES.findall(value))


class Sender:
    """Collects events, sends them in batches, and moves the checkpoint on once a batch is stored."""

    def __init__(self, producer: Producer, topic_prefix: str, checkpoint: Checkpoint) -> None:
        self._producer, self._topic_prefix, self._checkpoint = producer, topic_prefix, checkpoint
        self._waiting: list[Record] = []

    def add(self, events: Iterable[AnyEvent], place: Place) -> None:
        """Add what came of one record.

        Raises:
            Refused: one of its events cannot be sent; none of them is.
            StackFailed: the broker does not store a batch in time.
        """
        self._waiting += encode_all(events, self._topic_prefix)
        if len(self._waiting) >= IN_FLIGHT:
            self.flush(place)

    def flush(self, place: Place) -> None:
        """Send what waits. Raises: StackFailed: the broker does not store it in time."""
        try:
            for stored in [self._producer.send(record) for record in self._waiting]:
                stored.result(ACK_DEADLINE_SECONDS)
        except Exception as error:
            raise StackFailed(
                f"the broker stopped storing at record {place.record} ({type(error).__name__}: {error}); "
                "run the same command again, and it goes on from the last batch that was stored"
            ) from error
        self._waiting = []
        self._checkpoint.save(place)
