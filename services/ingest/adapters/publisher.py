"""Publishes to the bus from an event loop: bounded, with a deadline, and without blocking it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import structlog

from services.ingest.metrics import IN_FLIGHT
from shared.bus import Producer, Record
from shared.errors import (
    HeliotropeError,
    InvalidRequest,
    RecordRefused,
    TooLarge,
    TooManyRequests,
    TopicRefused,
    Unavailable,
)
from shared.metrics import RELAY_STOPPED_TOPICS

logger = structlog.get_logger(__name__)

_SILENCE = TimeoutError("the broker did not answer in time")


class Delivery:
    """The records that one caller waits for; complete when the outcome of each is known."""

    __slots__ = ("failures", "records", "settled", "waiting")

    def __init__(self, records: list[Record], waiting: asyncio.Future[None]) -> None:
        self.records = records
        self.waiting = waiting
        self.failures: list[BaseException | None] = [_SILENCE] * len(records)
        self.settled = 0

    def settle(self, index: int, failure: BaseException | None) -> None:
        self.failures[index] = failure
        self.settled += 1
        if self.settled == len(self.records):
            self.stop_waiting()

    def stop_waiting(self) -> None:
        if not self.waiting.done():
            self.waiting.set_result(None)


class StoppedTopics:
    """The topics that took nothing when they were last sent to: missing, or not allowed."""

    def __init__(self) -> None:
        self._stopped: set[str] = set()
        RELAY_STOPPED_TOPICS.labels("ingest").set(0)

    def note(self, topic: str, failure: BaseException | None) -> None:
        """Tell what changed, once."""
        if isinstance(failure, TopicRefused) and topic not in self._stopped:
            self._stopped.add(topic)
            logger.error("topic_refused", relay="ingest", topic=topic, error=str(failure))
        elif failure is None and topic in self._stopped:
            self._stopped.remove(topic)
            logger.info("topic_takes_records_again", relay="ingest", topic=topic)
        else:
            return
        RELAY_STOPPED_TOPICS.labels("ingest").set(len(self._stopped))


class Publisher:
    """Sends records and waits until the broker has stored them.

    What waits for the broker is bounded in number and in bytes. A record counts until its outcome is known, also when
    nobody waits for it any more, because the producer still holds it.

    The producer settles records in a thread of its own; the loop is woken once for all that it has settled meanwhile.
    """

    def __init__(
        self, producer: Producer, *, deadline_seconds: float, max_in_flight: int, max_in_flight_bytes: int
    ) -> None:
        self._producer = producer
        self._deadline_seconds = deadline_seconds
        self._records_free = max_in_flight
        self._bytes_free = max_in_flight_bytes
        self._settled: deque[tuple[Delivery, int, BaseException | None]] = deque()
        self._waking = False
        self._stopped = StoppedTopics()
        # in the order of their deadlines; one timer for all of them costs less than one for each
        self._deadlines: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._expiring = False
        IN_FLIGHT.set_function(lambda: max_in_flight - self._records_free)

    async def publish(self, records: Sequence[Record]) -> list[HeliotropeError | None]:
        """Return for each record None, when the broker has stored it, or TooManyRequests, or Unavailable."""
        sending = self._admit(records)
        failures = await self._send(sending) if sending else []
        if len(sending) == len(records):
            return [_describe(failure) if failure else None for failure in failures]
        refused = [TooManyRequests("too many events wait for the broker; try again") for _ in records[len(sending) :]]
        return [*map(_describe, failures), *refused]

    def _admit(self, records: Sequence[Record]) -> list[Record]:
        """Return as many records from the front as the bounds allow."""
        admitted: list[Record] = []
        for record in records:
            if self._records_free < 1 or self._bytes_free < len(record.value):
                break
            self._records_free -= 1
            self._bytes_free -= len(record.value)
            admitted.append(record)
        return admitted

    async def _send(self, records: list[Record]) -> list[BaseException | None]:
        """Wait without cancelling: a record whose deadline passed may still be stored."""
        loop = asyncio.get_running_loop()
        delivery = Delivery(records, loop.create_future())
        self._producer.deliver(records, partial(self._settle, loop, delivery))
        if not delivery.waiting.done():
            self._deadlines.append((loop.time() + self._deadline_seconds, delivery.waiting))
            if not self._expiring:
                self._expiring = True
                loop.call_later(self._deadline_seconds, self._expire, loop)
            await delivery.waiting
        return delivery.failures.copy()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop waiting for those whose deadline has passed; come back at the next deadline."""
        now = loop.time()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1].done()):
            _, waiting = self._deadlines.popleft()
            if not waiting.done():
                waiting.set_result(None)
        self._expiring = bool(self._deadlines)
        if self._deadlines:
            loop.call_at(self._deadlines[0][0], self._expire, loop)

    def _settle(
        self, loop: asyncio.AbstractEventLoop, delivery: Delivery, index: int, failure: BaseException | None
    ) -> None:
        """Runs in the producer's thread."""
        self._settled.append((delivery, index, failure))
        if not self._waking:
            self._waking = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._take_settled)

    def _take_settled(self) -> None:
        self._waking = False
        while self._settled:
            delivery, index, failure = self._settled.popleft()
            self._records_free += 1
            record = delivery.records[index]
            self._bytes_free += len(record.value)
            self._stopped.note(record.topic, failure)
            delivery.settle(index, failure)
        while self._deadlines and self._deadlines[0][1].done():
            self._deadlines.popleft()


def _describe(failure: BaseException | None) -> HeliotropeError | None:
    if failure is None:
        return None
    if isinstance(failure, RecordRefused):
        return _refuse(failure)
    return Unavailable(
        f"the broker did not store the event ({type(failure).__name__}); send it again with its event_id"
    )


def _refuse(refusal: RecordRefused) -> HeliotropeError:
    """What is refused for good is not worth another try."""
    if refusal.too_large:
        return TooLarge("the event is larger than its topic takes")
    return InvalidRequest("the broker takes no such event")
