"""The consumer loop: at least once, one transaction per polled batch, each event isolated, offsets after it."""

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog
from sqlalchemy.orm import Session

from shared.bus import Consumer, Gap, Record, decode
from shared.db import SessionFactory, is_full, is_transient
from shared.dead_letters import DeadLetters
from shared.errors import UndecodableEvent
from shared.events import AnyEvent
from shared.logging import event_context
from shared.metrics import (
    CONSUMED,
    CONSUMER_ERRORS,
    CONSUMER_LAG,
    CONSUMER_LOST,
    CONSUMER_PROBLEMS,
    CONSUMER_REPEATS,
    CONSUMER_SECONDS,
    start_at_zero,
)

logger = structlog.get_logger(__name__)

MAX_BACKOFF_SECONDS = 10.0
POLL_PATIENCE_SECONDS = 60.0
REPEATS_ALLOWED = 5
"""Failures of one batch, some six seconds of them, before its process says that it is not ready."""


class CannotRead(Exception):
    """The consumer is not given what it subscribed to."""


def tell_errors(name: str, before: dict[str, bool], errors: dict[str, bool]) -> dict[str, bool]:
    """Log and count what is new among a consumer's errors, and say what has passed; return those of now."""
    for words in errors.keys() - before.keys():
        CONSUMER_ERRORS.labels(name).inc()
        logger.error("consumer_problem", consumer=name, problem=words)
    for words in before.keys() - errors.keys():
        logger.info("consumer_problem_passed", consumer=name, problem=words)
    CONSUMER_PROBLEMS.labels(name).set(len(errors))
    return errors


class Handler(Protocol):
    """What a service does with the events of a batch, inside one transaction."""

    def prepare(self, session: Session, events: list[AnyEvent]) -> None:
        """Take the locks that the batch needs."""

    def handle(self, session: Session, event: AnyEvent) -> None:
        """Handle one event, inside its own savepoint. Must be idempotent."""

    def finish(self, session: Session, events: list[AnyEvent]) -> None:
        """Finish the batch, with the events whose `handle` succeeded."""


class ConsumerLoop:
    """Feeds a handler from the bus until told to stop.

    A failure that may pass (the database is away, a deadlock) repeats the batch, with back-off, before anything else is
    polled. Any other failure of one event sends that record to its dead-letter topic, and its neighbours go on. A batch
    that fails as a whole is halved until what is wrong with it stands alone.
    """

    def __init__(
        self,
        name: str,
        consumer: Consumer,
        handler: Handler,
        sessions: SessionFactory,
        dead_letters: DeadLetters,
        *,
        savepoints: bool = True,
        topics: Sequence[str] = (),
    ) -> None:
        """Without `savepoints`, `handle` must leave the transaction usable whatever it raises. `topics`, those that
        the consumer reads, are counted from zero on."""
        start_at_zero(CONSUMED, [name], topics, ["handled", "dead_letter"])
        start_at_zero(CONSUMER_LOST, [name], topics)
        start_at_zero(CONSUMER_ERRORS, [name])
        self._repeats = 0
        self._errors: dict[str, bool] = {}
        self._gaps: list[Gap] = []
        self._name = name
        self._consumer = consumer
        self._handler = handler
        self._sessions = sessions
        self._dead_letters = dead_letters
        self._savepoints = savepoints

    def run(self, stop: threading.Event) -> None:
        lag_at = 0.0
        try:
            while not stop.is_set():
                records = self._poll(stop)
                self._tell_errors()
                self._gaps += self._consumer.take_gaps()
                if (records or self._gaps) and not self._handle_until_done(records, stop):
                    return
                if time.monotonic() >= lag_at:
                    lag = self._consumer.lag()
                    CONSUMER_LAG.labels(self._name).set(math.nan if lag is None else lag)
                    lag_at = time.monotonic() + 5.0
        finally:
            self._consumer.close()

    def check(self) -> None:
        """Raises: CannotRead: something of this reader's own keeps it from reading, or one batch fails on and on."""
        if wrong := [words for words, is_own in self._errors.items() if is_own]:
            raise CannotRead("; ".join(wrong))
        if self._repeats >= REPEATS_ALLOWED:
            raise CannotRead(f"the batch at hand has failed {self._repeats} times")

    def _tell_errors(self) -> None:
        self._errors = tell_errors(self._name, self._errors, self._consumer.read_errors())

    def _tell_gaps(self) -> None:
        """Count what retention took, and note it where dead letters are, before the offsets move past it."""
        while self._gaps:
            gap = self._gaps[0]
            self._dead_letters.put_gap(gap)
            CONSUMER_LOST.labels(self._name, gap.topic).inc(gap.end - gap.start)
            logger.error("records_lost_to_retention", consumer=self._name, **msgspec.structs.asdict(gap))
            self._gaps.pop(0)

    def _poll(self, stop: threading.Event) -> list[Record]:
        """The next records. A bus that fails is asked again; past a minute, it is for a new process to try."""
        failing_since, delay = time.monotonic(), 0.2
        while True:
            try:
                return self._consumer.poll(0.5)
            except Exception as error:
                if time.monotonic() - failing_since > POLL_PATIENCE_SECONDS:
                    raise
                logger.warning("poll_failed", consumer=self._name, error=repr(error), retry_in_seconds=delay)
            if stop.wait(delay):
                return []
            delay = min(delay * 2, MAX_BACKOFF_SECONDS)

    def _handle_until_done(self, records: list[Record], stop: threading.Event) -> bool:
        """Handle a batch and commit its offsets; False when told to stop before that."""
        delay = 0.2
        while True:
            try:
                self._tell_gaps()
                with CONSUMER_SECONDS.labels(self._name).time():
                    self.handle_batch(records)
                self._consumer.commit()
                self._count_repeats(0)
                return True
            except Exception as error:
                self._count_repeats(self._repeats + 1)
                logger.warning("batch_failed", consumer=self._name, error=repr(error), retry_in_seconds=delay)
            if stop.wait(delay):
                return False
            delay = min(delay * 2, MAX_BACKOFF_SECONDS)

    def _count_repeats(self, repeats: int) -> None:
        self._repeats = repeats
        CONSUMER_REPEATS.labels(self._name).set(repeats)

    def handle_batch(self, records: list[Record]) -> None:
        """Handle the records in one transaction; if that fails as a whole, in halves, down to single records."""
        self._handle_decoded(self._decode(records))

    def _handle_decoded(self, decoded: list[tuple[Record, AnyEvent]]) -> None:
        if not decoded:
            return
        try:
            self._run_transaction(decoded)
        except Exception as error:
            if is_transient(error) and not (is_full(error) and len(decoded) > 1):
                raise
            if len(decoded) == 1:
                self._put_aside(decoded[0][0], error)
                return
            logger.warning("batch_split", consumer=self._name, error=type(error).__name__, records=len(decoded))
            half = len(decoded) // 2
            self._handle_decoded(decoded[:half])
            self._handle_decoded(decoded[half:])

    def _decode(self, records: list[Record]) -> list[tuple[Record, AnyEvent]]:
        decoded: list[tuple[Record, AnyEvent]] = []
        for record in records:
            try:
                decoded.append((record, decode(record)))
            except UndecodableEvent as error:
                self._put_aside(record, error)
        return decoded

    def _run_transaction(self, decoded: list[tuple[Record, AnyEvent]]) -> None:
        failed: list[tuple[Record, Exception]] = []
        handled: list[AnyEvent] = []
        with self._sessions() as session, session.begin():
            self._handler.prepare(session, [event for _, event in decoded])
            for record, event in decoded:
                try:
                    self._handle(session, event)
                except Exception as error:
                    if is_transient(error):
                        raise
                    failed.append((record, error))
                else:
                    handled.append(event)
            self._handler.finish(session, handled)
        for record, failure in failed:
            self._put_aside(record, failure)
        counts = Counter(record.topic for record, _ in decoded)
        counts.subtract(record.topic for record, _ in failed)
        for topic, count in counts.items():
            CONSUMED.labels(self._name, topic, "handled").inc(count)

    def _handle(self, session: Session, event: AnyEvent) -> None:
        if not self._savepoints:
            self._handler.handle(session, event)
            return
        with event_context(event), session.begin_nested():
            self._handler.handle(session, event)

    def _put_aside(self, record: Record, error: Exception) -> None:
        """The reason names the error's kind and our own words for it, never the record's text."""
        reason = str(error) if isinstance(error, UndecodableEvent) else type(error).__name__
        self._dead_letters.put(record, reason)
        CONSUMED.labels(self._name, record.topic, "dead_letter").inc()
        logger.error("dead_letter", consumer=self._name, topic=record.topic, offset=record.offset, reason=reason)
