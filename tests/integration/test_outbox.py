"""The outbox against a real Postgres."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from shared.bus import decode
from shared.bus.memory import MemoryBroker, MemoryProducer
from shared.events import TrainingCompleted
from shared.ids import new_id
from shared.outbox import Relay, append_event
from shared.tables.trainer import Outbox


def completed() -> TrainingCompleted:
    return TrainingCompleted(
        request_id=new_id(),
        run_id=new_id(),
        outcome="succeeded",
        parent_version="1",
        dataset_sha256="d" * 64,
        completed_at=datetime.now(UTC),
    )


def count_rows(sessions: "sessionmaker[Session]") -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(Outbox)) or 0


class AwayProducer:
    """A bus that never stores anything."""

    def send(self, record: object) -> object:
        raise ConnectionError("the broker is away")

    def close(self, timeout_seconds: float) -> None:
        """Nothing is open."""


def test_an_event_of_a_transaction_that_failed_is_never_announced(sessions: "sessionmaker[Session]"):
    with pytest.raises(RuntimeError), sessions() as session, session.begin():
        append_event(session, Outbox, completed(), source="trainer")
        raise RuntimeError("something else went wrong")
    assert count_rows(sessions) == 0


def test_events_are_announced_in_order_and_then_forgotten(sessions: "sessionmaker[Session]"):
    events = [completed() for _ in range(5)]
    with sessions() as session, session.begin():
        for event in events:
            append_event(session, Outbox, event, source="trainer")
            session.flush()
    broker = MemoryBroker(partitions=1)
    assert Relay(sessions, Outbox, MemoryProducer(broker)).relay_batch() == 5
    assert [decode(record) for record in broker.records("training.completed")] == events
    assert count_rows(sessions) == 0


def test_nothing_is_lost_while_the_bus_is_away(sessions: "sessionmaker[Session]"):
    with sessions() as session, session.begin():
        append_event(session, Outbox, completed(), source="trainer")
    relay = Relay(sessions, Outbox, AwayProducer())  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        relay.relay_batch()
    assert count_rows(sessions) == 1
    assert relay.measure_backlog()[0] == 1


def test_only_one_relay_works_an_outbox_at_a_time(sessions: "sessionmaker[Session]"):
    with sessions() as session, session.begin():
        append_event(session, Outbox, completed(), source="trainer")
    broker = MemoryBroker(partitions=1)

    class SlowProducer(MemoryProducer):
        """While the first relay is sending, a second one tries."""

        def send(self, record):
            assert Relay(sessions, Outbox, MemoryProducer(broker)).relay_batch() == 0
            return super().send(record)

    assert Relay(sessions, Outbox, SlowProducer(broker)).relay_batch() == 1
    assert len(broker.records("training.completed")) == 1
