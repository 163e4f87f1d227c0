"""What every relay does with its rows: send them, and tell a record's fault from a topic's and from an outage."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from shared.bus import Producer, Record
from shared.errors import RecordRefused, TopicRefused
from shared.metrics import RELAY_REFUSED, RELAY_STOPPED_TOPICS, start_at_zero

logger = structlog.get_logger(__name__)

Row = TypeVar("Row")

ACK_DEADLINE_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass
class Published(Generic[Row]):
    """What became of the rows that were sent; those in none of the lists stay where they are."""

    stored: list[Row] = field(default_factory=list)
    refused: list[tuple[Row, RecordRefused]] = field(default_factory=list)
    failure: Exception | None = None
    """An outage: the bus takes nothing, or not everything, for now."""


@dataclass
class _Pause:
    until: float
    seconds: float


class RelayTopics:
    """The topics of one relay, and which of them stand still: those that take nothing of ours.

    Each is tried again after a pause that doubles from one second to a minute.
    """

    def __init__(self, relay: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._relay = relay
        self._clock = clock
        self._pauses: dict[str, _Pause] = {}
        start_at_zero(RELAY_REFUSED, [relay])
        RELAY_STOPPED_TOPICS.labels(relay).set(0)

    def list_waiting(self) -> list[str]:
        """Return the topics whose rows are not to be sent yet."""
        return [topic for topic, pause in self._pauses.items() if pause.until > self._clock()]

    def publish(self, producer: Producer, rows: Sequence[tuple[Row, Record]]) -> Published[Row]:
        """Send the rows and wait for each; raises nothing that the bus raises."""
        published: Published[Row] = Published()
        for row, record, sent in self._send(producer, rows, published):
            try:
                sent.result(ACK_DEADLINE_SECONDS)
                published.stored.append(row)
                self._resume(record.topic)
            except RecordRefused as refusal:
                published.refused.append((row, refusal))
                self._report(record, refusal)
            except TopicRefused as refusal:
                self._stop(record.topic, refusal)
            except Exception as error:
                published.failure = error
        return published

    def _send(
        self, producer: Producer, rows: Sequence[tuple[Row, Record]], published: Published[Row]
    ) -> list[tuple[Row, Record, "Future[None]"]]:
        """Queue the rows, in order; none after the first that the producer cannot take for now."""
        pending: list[tuple[Row, Record, Future[None]]] = []
        for row, record in rows:
            try:
                pending.append((row, record, producer.send(record)))
            except TopicRefused as refusal:
                self._stop(record.topic, refusal)
            except Exception as error:
                published.failure = error
                break
        return pending

    def _report(self, record: Record, refusal: RecordRefused) -> None:
        RELAY_REFUSED.labels(self._relay).inc()
        logger.error(
            "record_refused", relay=self._relay, topic=record.topic, bytes=len(record.value), error=str(refusal)
        )

    def _stop(self, topic: str, refusal: TopicRefused) -> None:
        if topic in self.list_waiting():  # of the same batch
            return
        seconds = min(2 * self._pauses[topic].seconds, LONGEST_PAUSE_SECONDS) if topic in self._pauses else None
        pause = self._pauses[topic] = _Pause(0.0, seconds or FIRST_PAUSE_SECONDS)
        pause.until = self._clock() + pause.seconds
        RELAY_STOPPED_TOPICS.labels(self._relay).set(len(self._pauses))
        logger.error(
            "topic_refused", relay=self._relay, topic=topic, error=str(refusal), retry_in_seconds=pause.seconds
        )

    def _resume(self, topic: str) -> None:
        if self._pauses.pop(topic, None) is not None:
            RELAY_STOPPED_TOPICS.labels(self._relay).set(len(self._pauses))
            logger.info("topic_takes_records_again", relay=self._relay, topic=topic)
