"""Publishes what the spool holds."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from services.gateway.adapters.spool import Spool
from shared.bus import Producer
from shared.bus.relaying import RelayTopics

logger = structlog.get_logger(__name__)

BATCH = 200
LINGER_SECONDS = 0.05
"""Records that come within it go together: fewer writes to the disk that answers wait for."""
WRITE_DEADLINE_SECONDS = 15.0
CLOSE_SECONDS = 5.0
HANDOVER_PAUSE_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 10.0


class SpoolRelay:
    """Publishes the oldest records first; one leaves the spool when the broker has stored it.

    A record that the broker will never take is put aside in the spool's file; those of a topic that takes nothing wait
    alone. It makes its producer when it first needs it, and again after a failure to: the gateway starts, and answers,
    while the broker is away.
    """

    def __init__(self, spool: Spool, open_producer: Callable[[], Producer], handover_seconds: float = 5.0) -> None:
        self._spool = spool
        self._open_producer = open_producer
        self._handover_seconds = handover_seconds
        self._producer: Producer | None = None
        self._topics = RelayTopics("gateway")

    def relay_batch(self) -> int:
        """Publish up to 200 records; return how many left the spool's queue.

        Raises what the bus raised if none did, and what the spool raised; nothing is lost.
        """
        rows = self._spool.read(BATCH, self._topics.list_waiting())
        if not rows:
            return 0
        producer = self._producer = self._producer or self._open_producer()
        published = self._topics.publish(producer, [(row, row[1]) for row in rows])
        refused = [row for row, _ in published.refused]
        if refused:
            reasons = [str(refusal) for _, refusal in published.refused]
            self._spool.put_aside(refused, reasons).result(WRITE_DEADLINE_SECONDS)
        if published.stored:
            self._spool.remove(published.stored).result(WRITE_DEADLINE_SECONDS)
        moved = len(published.stored) + len(refused)
        if published.failure is not None:
            if not moved:
                raise published.failure
            logger.warning("spool_relay_failed", error=repr(published.failure), moved=moved)
        return moved

    def forget_refused(self, retention: timedelta) -> None:
        """Delete what was put aside longer ago."""
        self._spool.forget_refused(datetime.now(UTC) - retention).result(WRITE_DEADLINE_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Relay until told to stop, and then until the spool is empty or `handover_seconds` have passed."""
        delay = 0.2
        while not stop.is_set():
            self._spool.arrived.clear()
            try:
                moved = self.relay_batch()
                delay = 0.2
            except Exception as error:
                logger.warning("spool_relay_failed", error=repr(error), retry_in_seconds=delay)
                stop.wait(delay)
                delay = min(delay * 2, MAX_BACKOFF_SECONDS)
                continue
            if not moved:
                self._spool.arrived.wait(0.25)
            if moved < BATCH:
                stop.wait(LINGER_SECONDS)
        self._hand_over()
        if self._producer is not None:
            self._producer.close(CLOSE_SECONDS)

    def _hand_over(self) -> None:
        """Publish what is left: the next process may have another disk."""
        deadline = time.monotonic() + self._handover_seconds
        while self._spool.count() and time.monotonic() < deadline:
            try:
                moved = self.relay_batch()
            except Exception as error:
                logger.warning("spool_relay_failed", error=repr(error), retry_in_seconds=HANDOVER_PAUSE_SECONDS)
                moved = 0
            if not moved:
                time.sleep(HANDOVER_PAUSE_SECONDS)
        if left := self._spool.count():
            logger.error("spool_kept", records=left, handover_seconds=self._handover_seconds)
