"""The bus for an event loop: bounded, with a deadline, and never blocking it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from services.ingest.metrics import IN_FLIGHT
from shared.bus import Producer, Record
from shared.errors import HeliotropeError, TooManyRequests, Unavailable


class Delivery:
    """Records that one caller waits for; complete when each is settled."""

    __slots__ = ("failures", "records", "settled", "waiting")

    def __init__(self, records: list[Record], waiting: asyncio.Future[None]) -> None:
        self.records = records
        self.waiting = waiting
        self.failures: list[BaseException | None] = [TimeoutError("the broker did not answer in time")] * len(records)
        self.settled = 0

    def settle(self, index: int, failure: BaseException | None) -> None:
        self.failures[index] = failure
        self.settled += 1
        if self.settled == len(self.records):
            self.stop_waiting()

    def stop_waiting(self) -> None:
        if not self.waiting.done():
            self.waiting.set_result(None)


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
        IN_FLIGHT.set_function(lambda: max_in_flight - self._records_free)

    async def publish(self, records: Sequence[Record]) -> list[HeliotropeError | None]:
        """For each record None, when the broker has stored it, or TooManyRequests, or Unavailable."""
        sending = self._admit(records)
        outcomes: list[HeliotropeError | None] = []
        if sending:
            outcomes += map(_describe, await self._send(sending))
        refused = len(records) - len(sending)
        return outcomes + [TooManyRequests("too many events wait for the broker; try again") for _ in range(refused)]

    def _admit(self, records: Sequence[Record]) -> list[Record]:
        """As many from the front as there is room for."""
        admitted: list[Record] = []
        for record in records:
            if self._records_free < 1 or self._bytes_free < len(record.value):
                break
            self._records_free -= 1
            self._bytes_free -= len(record.value)
            admitted.append(record)
        return admitted

    async def _send(self, records: list[Record]) -> list[BaseException | None]:
        """Waits without cancelling: a record whose deadline passed may still be stored."""
        loop = asyncio.get_running_loop()
        delivery = Delivery(records, loop.create_future())
        self._producer.deliver(records, partial(self._settle, loop, delivery))
        giving_up = loop.call_later(self._deadline_seconds, delivery.stop_waiting)
        try:
            await delivery.waiting
        finally:
            giving_up.cancel()
        return delivery.failures.copy()

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
            self._bytes_free += len(delivery.records[index].value)
            delivery.settle(index, failure)


def _describe(failure: BaseException | None) -> HeliotropeError | None:
    if failure is None:
        return None
    return Unavailable(
        f"the broker did not store the event ({type(failure).__name__}); send it again with its event_id"
    )
