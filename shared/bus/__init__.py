"""The bus port: records out, records in.

Adapters: `shared.bus.kafka`, a faster producer in `shared.bus.librdkafka`, and the in-memory `shared.bus.memory`. All
keep the same promises, and the same contract tests: a record whose future resolved is stored; records of one key keep
their order and their partition; a consumer sees every record from its group's last commit on, at least once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import msgspec

from shared.errors import UndecodableEvent
from shared.events import AnyEvent, Event


class Record(msgspec.Struct, frozen=True):
    """One record; `partition` and `offset` are known once it was consumed."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    partition: int = -1
    offset: int = -1


class Gap(msgspec.Struct, frozen=True):
    """Offsets of a partition, from `start` to before `end`, that are gone though they were never read."""

    topic: str
    partition: int
    start: int
    end: int


BATCH_OVERHEAD = 61
RECORD_OVERHEAD = 30
HEADER_OVERHEAD = 6
"""Of Kafka's record format v2, at most: lengths are varints."""


def measure_batch_bytes(record: Record) -> int:
    """Return what a broker compares with a topic's `max.message.bytes`: a batch of this record alone, at most some 30
    less.
    """
    headers = sum(len(name) + len(value.encode()) + HEADER_OVERHEAD for name, value in record.headers.items())
    return BATCH_OVERHEAD + RECORD_OVERHEAD + len(record.key) + len(record.value) + headers


Settle = Callable[[int, BaseException | None], None]
"""Told once of each record, by its index: None when it is stored, else why not. May be called from any thread."""


class Producer(Protocol):
    def send(self, record: Record) -> "Future[None]":
        """Queue a record; the future resolves when the broker has stored it, or fails within the deadline.

        Raises:
            Unavailable: the local queue is full.
        """

    def deliver(self, records: Sequence[Record], settle: Settle) -> None:
        """Queue records without ever blocking or raising; each is settled once, about within the deadline."""

    def close(self, timeout_seconds: float) -> None:
        """Wait for what is queued, at most this long."""


class Consumer(Protocol):
    def poll(self, timeout_seconds: float) -> list[Record]:
        """Return the next records, or none after the timeout; a bounded number."""

    def commit(self) -> None:
        """Commit what was returned so far as handled: a successor in the group starts after them."""

    def lag(self) -> int | None:
        """Return records that wait to be polled; None when that is not known."""

    def read_errors(self) -> dict[str, bool]:
        """Return what keeps it from reading now, in words; true for what is its own, not an outage that all readers
        share.
        """

    def take_gaps(self) -> list[Gap]:
        """Return what retention took before it was read, each once; the next commit is past them."""

    def close(self) -> None:
        """Leave the group without committing."""


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event, *, source: str, topic_prefix: str = "", at: datetime | None = None) -> Record:
    """Return the record of an event, with CloudEvents 1.0 attributes (Kafka protocol binding, binary mode) as headers.

    `at` is `ce_time`; without it, now.
    """
    topic, headers = _describe(type(event), source, topic_prefix)
    own = {"ce_id": event.identity, "ce_time": (at or datetime.now(UTC)).isoformat()}
    return Record(topic, event.key.encode(), _encoder.encode(event), headers | own)


@lru_cache
def _describe(event_type: type[Event], source: str, topic_prefix: str) -> tuple[str, dict[str, str]]:
    """The topic, and the headers that all events of a type share."""
    headers = {
        "ce_specversion": "1.0",
        "ce_source": f"/heliotrope/{source}",
        "ce_type": f"heliotrope.{event_type.topic}",
        "content-type": "application/json",
    }
    return topic_prefix + event_type.topic, headers


def decode(record: Record) -> AnyEvent:
    """Return the event of a record.

    Raises:
        UndecodableEvent: the value is not JSON, is nested too deep to be read, or is not one of the six events.
    """
    try:
        return _decoder.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UndecodableEvent(f"{record.topic}[{record.partition}]@{record.offset}: {error}") from error
