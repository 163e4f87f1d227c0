"""The outbox against a real Postgres."""

from concurrent.futures import Future
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from shared.bus import Record, decode
from shared.bus.memory import MemoryBroker, MemoryProducer
from shared.errors import RecordRefused, TopicRefused, Unavailable
from shared.events import TrainingCompleted
from shared.ids import new_id
from shared.outbox import Relay, append_event
from shared.tables.trainer import Outbox, Refused


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


class FaultyProducer(MemoryProducer):
    """Fails some records, by their number among those sent."""

    def __init__(self, broker: MemoryBroker, failures: dict[int, Exception]) -> None:
        super().__init__(broker)
        self.failures, self.sent = failures, 0

    def send(self, record: Record) -> "Future[None]":
        self.sent += 1
        failure = self.failures.get(self.sent)
        if failure is None:
            return super().send(record)
        failed: Future[None] = Future()
        failed.set_exception(failure)
        return failed


def test_what_the_broker_will_never_take_goes_aside_and_its_neighbours_go_on(sessions: "sessionmaker[Session]"):
    with sessions() as session, session.begin():
        for _ in range(3):
            append_event(session, Outbox, completed(), source="trainer")
            session.flush()
        second = session.scalars(select(Outbox).order_by(Outbox.sequence)).all()[1]
    broker = MemoryBroker(partitions=1)
    producer = FaultyProducer(broker, {2: RecordRefused("training.completed: too large", too_large=True)})
    assert Relay(sessions, Outbox, producer).relay_batch() == 3
    assert len(broker.records("training.completed")) == 2
    assert count_rows(sessions) == 0
    with sessions() as session:
        [aside] = session.scalars(select(Refused))
    assert (aside.topic, aside.key, aside.value, aside.headers) == (
        second.topic,
        second.key,
        second.value,
        second.headers,
    )
    assert (aside.reason, aside.created_at) == ("training.completed: too large", second.created_at)


def test_what_was_stored_is_not_sent_again_because_a_neighbour_failed(sessions: "sessionmaker[Session]"):
    with sessions() as session, session.begin():
        for _ in range(3):
            append_event(session, Outbox, completed(), source="trainer")
    broker = MemoryBroker(partitions=1)
    relay = Relay(sessions, Outbox, FaultyProducer(broker, {2: Unavailable("no leader")}))
    assert relay.relay_batch() == 2
    assert count_rows(sessions) == 1
    assert relay.relay_batch() == 1
    assert len(broker.records("training.completed")) == 3


def test_a_topic_that_takes_nothing_stops_its_own_rows_alone(sessions: "sessionmaker[Session]"):
    with sessions() as session, session.begin():
        for prefix in ("", "other."):
            append_event(session, Outbox, completed(), source="trainer", topic_prefix=prefix)
            session.flush()
    broker = MemoryBroker(partitions=1)
    producer = FaultyProducer(broker, {1: TopicRefused("not authorised")})
    relay = Relay(sessions, Outbox, producer)
    assert relay.relay_batch() == 1
    assert relay.relay_batch() == 0
    assert producer.sent == 2  # its topic is left alone for a while
    assert count_rows(sessions) == 1
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Refused)) == 0


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
