"""Events written in the transaction that made them true, and the relay that announces them."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import structlog
from sqlalchemy import delete, inspect, select, text
from sqlalchemy.orm import Session

from shared.bus import Producer, Record, encode
from shared.bus.relaying import Published, RelayTopics
from shared.db import SessionFactory
from shared.events import Event
from shared.tables.base import Base, OutboxRow

logger = structlog.get_logger(__name__)

Row = TypeVar("Row", bound=Base)

BATCH = 100
REASON_LIMIT = 500


def append_event(
    session: Session, outbox: type[OutboxRow], event: Event, *, source: str, topic_prefix: str = ""
) -> None:
    """Announce `event` if, and only if, the session's transaction commits."""
    record = encode(event, source=source, topic_prefix=topic_prefix)
    session.add(outbox(topic=record.topic, key=record.key, value=record.value, headers=record.headers))


def announce_again(
    sessions: SessionFactory, load: Callable[[Session], Iterable[Row]], announce: Callable[[Session, Row], object]
) -> int:
    """Announce once more what nobody has taken up, since a lost record must stall nothing; return how many rows it was.

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

    A row that the broker will never take goes to the table beside the outbox; the rows of a topic that takes nothing
    wait alone. An advisory lock keeps it to one relay per outbox, so that records of one key keep their order.
    """

    def __init__(self, sessions: SessionFactory, outbox: type[OutboxRow], producer: Producer) -> None:
        self._sessions = sessions
        self._outbox = outbox
        self._producer = producer
        self._topics = RelayTopics(str(outbox.__mapper__.local_table.schema))

    def relay_batch(self) -> int:
        """Announce up to 100 rows; return how many left the outbox.

        Raises what the bus raised if none did, and what the database raised; nothing is lost.
        """
        with self._sessions() as session, session.begin():
            if not self._lock(session):
                return 0
            rows = self._load(session)
            records = [(row, Record(row.topic, row.key, row.value, dict(row.headers))) for row in rows]
            published = self._topics.publish(self._producer, records)
            self._put_aside(session, published)
            self._forget(session, [*published.stored, *(row for row, _ in published.refused)])
        moved = len(published.stored) + len(published.refused)
        if published.failure is not None:
            if not moved:
                raise published.failure
            logger.warning("relay_failed", error=repr(published.failure), moved=moved)
        return moved

    def _lock(self, session: Session) -> bool:
        name = f"relay:{self._outbox.__mapper__.local_table}"
        lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 1))")
        return bool(session.scalar(lock, {"name": name}))

    def _load(self, session: Session) -> Sequence[OutboxRow]:
        oldest = select(self._outbox).order_by(self._outbox.sequence).limit(BATCH)
        return session.scalars(oldest.where(self._outbox.topic.not_in(self._topics.list_waiting()))).all()

    def _put_aside(self, session: Session, published: Published[OutboxRow]) -> None:
        for row, refusal in published.refused:
            copy = {name: getattr(row, name) for name in ("topic", "key", "value", "headers", "created_at")}
            session.add(self._outbox.refused(**copy, reason=str(refusal)[:REASON_LIMIT]))

    def _forget(self, session: Session, rows: Sequence[OutboxRow]) -> None:
        if rows:
            gone = [row.sequence for row in rows]
            session.execute(delete(self._outbox).where(self._outbox.sequence.in_(gone)))

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
