"""What the consumer loop does with failures, on the in-memory bus and a session that records."""

import threading
from collections.abc import Set
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY

from shared.bus import Record, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import REPEATS_ALLOWED, CannotRead, ConsumerLoop
from shared.dead_letters import DeadLetters, dead_letter_topic, restore
from shared.events import AnyEvent, FeedbackReceived, Thumb
from shared.ids import new_id
from tests.builders import make_feedback

TOPIC = FeedbackReceived.topic


class FakeSession:
    """Transactions without a database: counts what was begun."""

    @contextmanager
    def begin(self) -> Any:
        yield self

    begin_nested = begin

    def __enter__(self) -> "FakeSession":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


class Recorder:
    """A handler that fails where it is told to."""

    def __init__(self, poisoned: Set[str] = frozenset(), away: int = 0, broken_together: bool = False) -> None:
        self.poisoned, self.away, self.broken_together = poisoned, away, broken_together
        self.handled: list[str] = []
        self.finished: list[str] = []

    def prepare(self, session: Any, events: list[AnyEvent]) -> None:
        if self.away:
            self.away -= 1
            raise ConnectionError("the database is away")

    def handle(self, session: Any, event: AnyEvent) -> None:
        if event.identity in self.poisoned:
            raise ValueError("the user's private words")
        self.handled.append(event.identity)

    def finish(self, session: Any, events: list[AnyEvent]) -> None:
        if self.broken_together and len(events) > 1:
            raise ValueError("cannot be derived together")
        self.finished += [event.identity for event in events]


def thumb() -> FeedbackReceived:
    return make_feedback(new_id(), new_id(), Thumb(value="up"), received_at=datetime.now(UTC), key_id="k")


class Setup:
    def __init__(self, handler: Recorder) -> None:
        self.broker = MemoryBroker(partitions=1)
        self.consumer = MemoryConsumer(self.broker, [TOPIC], "g")
        self.handler = handler
        letters = DeadLetters(MemoryProducer(self.broker), "curator")
        self.loop = ConsumerLoop("curator", self.consumer, handler, FakeSession, letters)  # type: ignore[arg-type]

    def take(self, *records: Record) -> None:
        for record in records:
            self.broker.append(record)
        self.loop.handle_batch(self.consumer.poll(0))

    @property
    def letters(self) -> list[Record]:
        return self.broker.records(dead_letter_topic(TOPIC, "curator"))


def test_a_poisoned_event_goes_aside_and_its_neighbours_go_on():
    events = [thumb() for _ in range(3)]
    setup = Setup(Recorder(poisoned={events[1].identity}))
    setup.take(*(encode(event, source="ingest") for event in events))
    assert setup.handler.handled == [events[0].identity, events[2].identity]
    assert len(setup.letters) == 1


def test_a_dead_letter_keeps_the_bytes_and_tells_the_reason_without_the_text():
    event = thumb()
    original = encode(event, source="ingest")
    setup = Setup(Recorder(poisoned={event.identity}))
    setup.take(original)
    [letter] = setup.letters
    assert letter.headers["dlq_reason"] == "ValueError"
    assert restore(letter) == original


def test_what_cannot_be_decoded_goes_aside():
    setup = Setup(Recorder())
    setup.take(Record(TOPIC, b"k", b"not json"))
    [letter] = setup.letters
    assert letter.value == b"not json"


def test_a_failure_that_may_pass_repeats_the_batch_and_puts_nothing_aside():
    event = thumb()
    setup = Setup(Recorder(away=1))
    setup.broker.append(encode(event, source="ingest"))
    records = setup.consumer.poll(0)
    with pytest.raises(ConnectionError):
        setup.loop.handle_batch(records)
    setup.loop.handle_batch(records)
    assert setup.handler.handled == [event.identity]
    assert setup.letters == []


class Watch(threading.Event):
    """Waits for nothing, and notes at each wait whether the loop says that it is not ready; set once all is handled."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        self.refusals: list[bool] = []

    def is_set(self) -> bool:
        return bool(self.setup.handler.handled)

    def wait(self, timeout: float | None = None) -> bool:
        self.refusals.append(is_refused(self.setup.loop))
        return False


def is_refused(loop: ConsumerLoop) -> bool:
    try:
        loop.check()
    except CannotRead:
        return True
    return False


def test_a_process_whose_batch_fails_on_and_on_is_not_ready_until_it_is_handled():
    setup = Setup(Recorder(away=REPEATS_ALLOWED + 1))
    setup.broker.append(encode(thumb(), source="ingest"))
    watch = Watch(setup)
    setup.loop.run(watch)
    assert watch.refusals == [False] * (REPEATS_ALLOWED - 1) + [True, True]
    assert not is_refused(setup.loop)
    assert REGISTRY.get_sample_value("heliotrope_consumer_batch_repeats", {"consumer": "curator"}) == 0


def test_a_batch_that_fails_as_a_whole_is_halved_until_it_is_handled():
    events = [thumb() for _ in range(5)]
    setup = Setup(Recorder(broken_together=True))
    setup.take(*(encode(event, source="ingest") for event in events))
    assert setup.handler.finished == [event.identity for event in events]
    assert setup.letters == []


class FlakyConsumer(MemoryConsumer):
    """The bus fails the first `failures` times that it is asked; then it stops the loop."""

    def __init__(self, broker: MemoryBroker, failures: int, stop: threading.Event) -> None:
        super().__init__(broker, [TOPIC], "g")
        self._failures = failures
        self._stop = stop

    def poll(self, timeout_seconds: float) -> list[Record]:
        if self._failures:
            self._failures -= 1
            raise ConnectionError("the coordinator is gone")
        self._stop.set()
        return super().poll(0)


def test_a_bus_that_fails_for_a_moment_is_asked_again():
    broker, handler, stop = MemoryBroker(partitions=1), Recorder(), threading.Event()
    event = thumb()
    broker.append(encode(event, source="ingest"))
    letters = DeadLetters(MemoryProducer(broker), "curator")
    consumer = FlakyConsumer(broker, 2, stop)
    ConsumerLoop("curator", consumer, handler, FakeSession, letters).run(stop)  # type: ignore[arg-type]
    assert handler.handled == [event.identity]
