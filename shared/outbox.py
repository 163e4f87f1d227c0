"""Events written in the transaction that made them true, and the relay that announces them."""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from sqlalchemy import delete, func, inspect, select, text
from sqlalchemy.orm import Session

from shared.bus import Producer, Record, encode
from shared.db import SessionFactory
from shared.events import Event
from shared.tables.base import Base, OutboxRow

logger = structlog.get_logger(__name__)

Row = TypeVar("Row", bound=Base)

BATCH = 100
ACK_DEADLINE_SECONDS = 15.0


def append_event(
    session: Session, outbox: type[OutboxRow], event: Event, *, source: str, topic_prefix: str = ""
) -> None:
    """Announce `event` if, and only if, the session's transaction commits."""
    record = encode(event, source=source, topic_prefix=topic_prefix)
    session.add(outbox(topic=record.topic, key=record.key, value=record.value, headers=record.headers))


def announce_again(
    sessions: SessionFactory, load: Callable[[Session], Iterable[Row]], announce: Callable[[Session, Row], object]
) -> int:
    """Announce once more what nobody has taken up, since a lost record must stall nothing; how many rows it was.

    Consumers are idempotent.

    Args:
        load: finds the rows that were announced some time ago and have no successor, and locks them.
        announce: appends the event of one of them.
    """
    with sessions() as session, session.begin():
        rows = list(load(session))
        for row in rows:
            announce(session, row)
            logger.warning("announced_again", row=str(inspect(row).identity), kind=type(row).__name__)
    return len(rows)


class Relay:
    """Moves rows from one outbox to the bus, oldest first; a row goes when the broker has stored it.

    An advisory lock keeps it to one relay per outbox, so that records of one key keep their order.
    """

    def __init__(self, sessions: SessionFactory, outbox: type[OutboxRow], producer: Producer) -> None:
        self._sessions = sessions
        self._outbox = outbox
        self._producer = producer

    def relay_batch(self) -> int:
        """Announce up to 100 rows; how many went. Raises what the bus or the database raised; nothing is lost."""
        outbox = self._outbox
        lock_name = f"relay:{outbox.__mapper__.local_table}"
        with self._sessions() as session, session.begin():
            locked = session.scalar(
                text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 1))"), {"name": lock_name}
            )
            if not locked:
                return 0
            rows = session.scalars(select(outbox).order_by(outbox.sequence).limit(BATCH)).all()
            pending = [
                (row.sequence, self._producer.send(Record(row.topic, row.key, row.value, dict(row.headers))))
                for row in rows
            ]
            for _, stored in pending:
                stored.result(timeout=ACK_DEADLINE_SECONDS)
            if pending:
                session.execute(delete(outbox).where(outbox.sequence.in_([sequence for sequence, _ in pending])))
            return len(pending)

    def run(self, stop: threading.Event, *, idle_seconds: float = 0.25) -> None:
        """Relay until told to stop; backs off while the bus or the database is away."""
        delay = idle_seconds
        while not stop.is_set():
            try:
                moved = self.relay_batch()
                delay = idle_seconds
            except Exception as error:
                logger.warning("relay_failed", error=repr(error), retry_in_seconds=delay)
                moved, delay = 0, min(delay * 2, 10.0)
            if not moved:
                stop.wait(delay)

    def measure_backlog(self) -> tuple[int, float]:
        """(rows waiting, age of the oldest in seconds)."""
        with self._sessions() as session:
            count, oldest = session.execute(
                select(func.count(), func.min(self._outbox.created_at)).select_from(self._outbox)
            ).one()
        return count, (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
