"""The bus port: records out, records in. Adapters: `shared.bus.kafka` and the in-memory `shared.bus.memory`.

Both keep the same promises, and the same contract tests: a record whose future resolved is stored; records of one key
keep their order; a consumer sees every record from its group's last commit on, at least once.
"""

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from shared.errors import UndecodableEvent
from shared.events import AnyEvent, Event


@dataclass(frozen=True)
class Record:
    """One record; `partition` and `offset` are known once it was consumed."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, str] = field(default_factory=dict)
    partition: int = -1
    offset: int = -1


class Producer(Protocol):
    def send(self, record: Record) -> "Future[None]":
        """Queue a record; the future resolves when the broker has stored it, or fails within the deadline.

        Raises:
            Unavailable: the local queue is full.
        """

    def close(self, timeout_seconds: float) -> None:
        """Wait for what is queued, at most this long."""


class Consumer(Protocol):
    def poll(self, timeout_seconds: float) -> list[Record]:
        """The next records, or none after the timeout; a bounded number."""

    def commit(self) -> None:
        """Every record returned so far is handled: a successor in the group starts after them."""

    def lag(self) -> int:
        """Records that wait to be polled, as far as known."""

    def close(self) -> None:
        """Leave the group without committing."""


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event, *, source: str, topic_prefix: str = "") -> Record:
    """The record of an event, with CloudEvents 1.0 attributes (Kafka protocol binding, binary mode) as headers."""
    return Record(
        topic=topic_prefix + event.topic,
        key=event.key.encode(),
        value=_encoder.encode(event),
        headers={
            "ce_specversion": "1.0",
            "ce_id": event.identity,
            "ce_source": f"/heliotrope/{source}",
            "ce_type": f"heliotrope.{event.topic}",
            "ce_time": datetime.now(UTC).isoformat(),
            "content-type": "application/json",
        },
    )


def decode(record: Record) -> AnyEvent:
    """The event of a record.

    Raises:
        UndecodableEvent: the value is not JSON, or not one of the six events.
    """
    try:
        return _decoder.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UndecodableEvent(f"{record.topic}[{record.partition}]@{record.offset}: {error}") from error
