"""The bus for an event loop: bounded, with a deadline, and never blocking it."""

import asyncio
import functools
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from services.ingest.metrics import IN_FLIGHT
from shared.bus import Producer, Record
from shared.errors import HeliotropeError, TooManyRequests, Unavailable

Stored = asyncio.Future[None]


class Publisher:
    """Sends records and waits until the broker has stored them.

    What waits for the broker is bounded in number and in bytes. A record counts until its outcome is known, also when
    nobody waits for it any more, because the producer still holds it.
    """

    def __init__(
        self, producer: Producer, *, deadline_seconds: float, max_in_flight: int, max_in_flight_bytes: int
    ) -> None:
        self._producer = producer
        self._deadline_seconds = deadline_seconds
        self._records_free = max_in_flight
        self._bytes_free = max_in_flight_bytes
        # kafka-python's send() blocks for up to two seconds while the broker is away
        self._sending = ThreadPoolExecutor(1, "bus-send")

    async def publish(self, records: Sequence[Record]) -> list[HeliotropeError | None]:
        """For each record None, when the broker has stored it, or TooManyRequests, or Unavailable."""
        admitted = [self._admit(record) for record in records]
        sending = [record for record, taken in zip(records, admitted, strict=True) if taken]
        stored = iter(await self._send(sending))
        return [
            next(stored) if taken else TooManyRequests("too many events wait for the broker; try again")
            for taken in admitted
        ]

    def _admit(self, record: Record) -> bool:
        size = len(record.value)
        if self._records_free < 1 or self._bytes_free < size:
            return False
        self._records_free -= 1
        self._bytes_free -= size
        IN_FLIGHT.inc()
        return True

    def _release(self, record: Record) -> None:
        self._records_free += 1
        self._bytes_free += len(record.value)
        IN_FLIGHT.dec()

    async def _send(self, records: list[Record]) -> list[HeliotropeError | None]:
        """Waits without cancelling: a record whose deadline passed may still be stored."""
        if not records:
            return []
        loop = asyncio.get_running_loop()
        waiting: list[Stored] = [loop.create_future() for _ in records]
        for record, stored in zip(records, waiting, strict=True):
            stored.add_done_callback(functools.partial(self._settle, record))
        give_up_at = time.monotonic() + self._deadline_seconds
        self._sending.submit(self._hand_over, loop, records, waiting, give_up_at)
        done, _ = await asyncio.wait(waiting, timeout=self._deadline_seconds)
        return [_outcome(stored) if stored in done else _too_late() for stored in waiting]

    def _settle(self, record: Record, stored: Stored) -> None:
        stored.exception()  # read, so that asyncio does not complain when nobody waits
        self._release(record)

    def _hand_over(
        self, loop: asyncio.AbstractEventLoop, records: list[Record], waiting: list[Stored], give_up_at: float
    ) -> None:
        """Runs in the sending thread. What nobody waits for any more is not sent: it would keep others waiting."""
        for record, stored in zip(records, waiting, strict=True):
            try:
                if time.monotonic() > give_up_at:
                    raise TimeoutError("its caller has been told to send it again")
                pending = self._producer.send(record)
            except Exception as error:
                _resolve_soon(loop, stored, error)
            else:
                pending.add_done_callback(functools.partial(_forward, loop, stored))

    def close(self) -> None:
        self._sending.shutdown(wait=False, cancel_futures=True)


def _forward(loop: asyncio.AbstractEventLoop, stored: Stored, sent: "Future[None]") -> None:
    _resolve_soon(loop, stored, sent.exception())


def _resolve_soon(loop: asyncio.AbstractEventLoop, stored: Stored, failure: BaseException | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(_resolve, stored, failure)


def _resolve(stored: Stored, failure: BaseException | None) -> None:
    if failure is None:
        stored.set_result(None)
    else:
        stored.set_exception(failure)


def _outcome(stored: Stored) -> HeliotropeError | None:
    failure = stored.exception()
    if failure is None:
        return None
    return Unavailable(
        f"the broker did not store the event ({type(failure).__name__}); send it again with its event_id"
    )


def _too_late() -> HeliotropeError:
    return Unavailable("the broker did not answer in time; send the event again with its event_id")
