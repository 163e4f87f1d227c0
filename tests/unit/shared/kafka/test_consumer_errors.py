"""What the consumer loop does with errors in place of records, and with what retention took; on the memory bus."""

import math
import threading
from typing import Any

import pytest
from prometheus_client import REGISTRY

from shared.bus import Gap
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.bus.read_errors import ReadErrors
from shared.consumer import CannotRead, ConsumerLoop
from shared.dead_letters import DeadLetters, dead_letter_topic, is_loss
from tests.unit.shared.kafka.test_consumer import TOPIC, FakeSession, Recorder

OUTAGE, DENIED = -195, 29


class TroubledConsumer(MemoryConsumer):
    """Tells what a test puts into it, and stops the loop after some polls."""

    def __init__(self, broker: MemoryBroker, stop: threading.Event, polls: int) -> None:
        super().__init__(broker, [TOPIC], "g")
        self.stop, self.polls = stop, polls
        self.errors, self.gaps, self.commits = ReadErrors(), list[Gap](), 0

    def poll(self, timeout_seconds: float) -> list[Any]:
        self.polls -= 1
        if self.polls == 0:
            self.stop.set()
        return []

    def read_errors(self) -> dict[str, bool]:
        return self.errors.describe()

    def take_gaps(self) -> list[Gap]:
        gaps, self.gaps = self.gaps, []
        return gaps

    def commit(self) -> None:
        self.commits += 1

    def lag(self) -> Any:
        return None


class AwayProducer(MemoryProducer):
    def send(self, record: Any) -> Any:
        raise ConnectionError("the broker is away")


def run(name: str, consumer: TroubledConsumer, broker: MemoryBroker, producer: MemoryProducer | None = None) -> Any:
    letters = DeadLetters(producer or MemoryProducer(broker), "curator")
    sessions: Any = FakeSession
    loop = ConsumerLoop(name, consumer, Recorder(), sessions, letters, topics=[TOPIC])
    loop.run(consumer.stop)
    return loop


def test_an_error_is_counted_once_and_keeps_the_consumer_from_being_ready():
    broker, stop = MemoryBroker(), threading.Event()
    consumer = TroubledConsumer(broker, stop, polls=3)
    consumer.errors.note(TOPIC, DENIED, "Topic authorization failed")
    loop = run("denied", consumer, broker)
    with pytest.raises(CannotRead, match="authorization"):
        loop.check()
    assert REGISTRY.get_sample_value("heliotrope_consumer_errors_total", {"consumer": "denied"}) == 1
    assert REGISTRY.get_sample_value("heliotrope_consumer_problems", {"consumer": "denied"}) == 1
    lag = REGISTRY.get_sample_value("heliotrope_consumer_lag_records", {"consumer": "denied"})
    assert lag is not None
    assert math.isnan(lag)


def test_an_outage_that_all_share_is_counted_but_takes_no_replica_away():
    broker, stop = MemoryBroker(), threading.Event()
    consumer = TroubledConsumer(broker, stop, polls=1)
    consumer.errors.note("", OUTAGE, "connection refused")
    run("outage", consumer, broker).check()
    assert REGISTRY.get_sample_value("heliotrope_consumer_problems", {"consumer": "outage"}) == 1


def test_errors_pass_with_what_they_concern():
    errors = ReadErrors()
    errors.note("", 30, "group")
    errors.note("", OUTAGE, "outage")
    errors.note("a", DENIED, "denied")
    errors.note("b", DENIED, "denied")
    errors.pass_for("a")
    assert errors.describe() == {"group": True, "b: denied": True}
    assert errors.list_topics() == ["b"]
    errors.pass_for_group()
    assert errors.describe() == {"b: denied": True}


def test_a_gap_is_noted_where_dead_letters_are_before_the_offsets_move_past_it():
    broker, stop = MemoryBroker(partitions=1), threading.Event()
    consumer = TroubledConsumer(broker, stop, polls=2)
    consumer.gaps = [Gap(TOPIC, 2, 10, 310)]
    run("gaps", consumer, broker)
    [note] = broker.records(dead_letter_topic(TOPIC, "curator"))
    assert is_loss(note)
    assert note.headers["dlq_reason"] == "retention took 300 records unread: offsets 10 to 309"
    assert consumer.commits == 1
    lost = {"consumer": "gaps", "topic": TOPIC}
    assert REGISTRY.get_sample_value("heliotrope_consumer_lost_records_total", lost) == 300


def test_a_gap_that_cannot_be_noted_is_not_committed():
    broker, stop = MemoryBroker(), threading.Event()
    consumer = TroubledConsumer(broker, stop, polls=1)
    consumer.gaps = [Gap(TOPIC, 0, 0, 5)]
    run("unnoted", consumer, broker, AwayProducer(broker))
    assert consumer.commits == 0
