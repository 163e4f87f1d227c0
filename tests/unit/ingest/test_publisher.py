"""The publisher against a producer whose acknowledgements a test holds in its hand."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import pytest
from prometheus_client import REGISTRY

from services.ingest.adapters.publisher import Publisher
from services.ingest.adapters.topic_limits import TopicLimits
from shared.bus import Record, Settle, measure_batch_bytes
from shared.errors import (
    HeliotropeError,
    InvalidRequest,
    RecordRefused,
    TooLarge,
    TooManyRequests,
    TopicRefused,
    Unavailable,
)


class HeldProducer:
    """Takes every record and acknowledges none until told to."""

    def __init__(self) -> None:
        self.pending: list[Future[None]] = []
        self.refuse = False

    def send(self, record: Record) -> "Future[None]":
        self.pending.append(Future())
        return self.pending[-1]

    def deliver(self, records: Sequence[Record], settle: Settle) -> None:
        for index, record in enumerate(records):
            if self.refuse:
                settle(index, Unavailable("the buffer is full"))
            else:
                self.send(record).add_done_callback(partial(self._pass_on, settle, index))

    @staticmethod
    def _pass_on(settle: Settle, index: int, stored: "Future[None]") -> None:
        settle(index, stored.exception())

    def close(self, timeout_seconds: float) -> None:
        """Nothing to close."""


def record(size: int = 10) -> Record:
    return Record("feedback.received", b"key", b"x" * size)


def make_publisher(producer: HeldProducer, **limits: float) -> Publisher:
    options = {"deadline_seconds": 5.0, "max_in_flight": 2, "max_in_flight_bytes": 1_000} | limits
    return Publisher(producer, **options)  # type: ignore[arg-type]


async def until_sent(producer: HeldProducer, count: int) -> None:
    async with asyncio.timeout(5):
        while len(producer.pending) < count:
            await asyncio.sleep(0.001)


def kinds(outcomes: list[HeliotropeError | None]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


async def publish_one(publisher: Publisher, size: int = 10) -> HeliotropeError | None:
    [outcome] = await publisher.publish([record(size)])
    return outcome


def test_nothing_is_reported_stored_before_the_broker_says_so():
    async def scenario() -> None:
        producer = HeldProducer()
        waiting = asyncio.create_task(publish_one(make_publisher(producer)))
        await until_sent(producer, 1)
        await asyncio.sleep(0.02)
        assert not waiting.done()
        producer.pending[0].set_result(None)
        assert await waiting is None

    asyncio.run(scenario())


def test_what_does_not_fit_is_refused_and_its_neighbours_go_on():
    async def scenario() -> None:
        producer = HeldProducer()
        publisher = make_publisher(producer)
        waiting = asyncio.create_task(publisher.publish([record(), record(), record()]))
        await until_sent(producer, 2)
        assert isinstance(await publish_one(publisher), TooManyRequests)
        for pending in producer.pending:
            pending.set_result(None)
        assert kinds(await waiting) == [type(None), type(None), TooManyRequests]
        late = asyncio.create_task(publish_one(publisher))
        await until_sent(producer, 3)
        producer.pending[2].set_result(None)
        assert await late is None

    asyncio.run(scenario())


def test_bytes_in_flight_are_bounded_too():
    async def scenario() -> None:
        assert isinstance(await publish_one(make_publisher(HeldProducer()), size=1_001), TooManyRequests)

    asyncio.run(scenario())


def test_past_the_deadline_the_outcome_is_unknown_and_the_room_stays_taken():
    async def scenario() -> None:
        producer = HeldProducer()
        publisher = make_publisher(producer, deadline_seconds=0.05, max_in_flight=1)
        assert isinstance(await publish_one(publisher), Unavailable)
        assert isinstance(await publish_one(publisher), TooManyRequests)
        producer.pending[0].set_exception(TimeoutError())
        await asyncio.sleep(0.02)
        assert isinstance(await publish_one(publisher), Unavailable)

    asyncio.run(scenario())


def test_a_producer_that_refuses_or_fails_is_unavailable():
    async def scenario() -> None:
        producer = HeldProducer()
        publisher = make_publisher(producer)
        waiting = asyncio.create_task(publish_one(publisher))
        await until_sent(producer, 1)
        producer.pending[0].set_exception(ConnectionError("the broker went away"))
        assert isinstance(await waiting, Unavailable)
        producer.refuse = True
        assert isinstance(await publish_one(publisher), Unavailable)

    asyncio.run(scenario())


def test_what_the_broker_will_never_take_is_not_worth_another_try():
    async def scenario() -> None:
        producer = HeldProducer()
        publishing = asyncio.create_task(make_publisher(producer).publish([record(), record()]))
        await until_sent(producer, 2)
        producer.pending[0].set_exception(RecordRefused("feedback.received: too large", too_large=True))
        producer.pending[1].set_exception(RecordRefused("feedback.received: invalid"))
        assert kinds(await publishing) == [TooLarge, InvalidRequest]

    asyncio.run(scenario())


def test_a_topic_that_takes_less_than_we_do_is_said_with_its_own_limit():
    limits = TopicLimits(["feedback.received"], lambda topics: dict.fromkeys(topics, 1_000))
    large = record(2_000)
    limits.check(large)  # not asked yet: unknown is not limited
    limits.refresh()
    with pytest.raises(TooLarge) as refusal:
        limits.check(large)
    most = 1_000 - (measure_batch_bytes(large) - 2_000)
    assert refusal.value.detail == f"an event may have at most {most} bytes here; this one has 2000"
    limits.check(record(most))
    limits.check(Record("another.topic", b"", b"x" * 5_000))


@pytest.mark.anyio
async def test_a_topic_that_takes_nothing_is_shown_until_it_takes_a_record():
    producer = HeldProducer()
    publisher = make_publisher(producer)

    def stopped() -> float | None:
        return REGISTRY.get_sample_value("heliotrope_relay_stopped_topics", {"relay": "ingest"})

    assert stopped() == 0
    for failure, shown in ((TopicRefused("not authorised"), 1), (Unavailable("away"), 1), (None, 0)):
        sending = asyncio.create_task(publisher.publish([record()]))
        await until_sent(producer, 1)
        sent = producer.pending.pop()
        sent.set_result(None) if failure is None else sent.set_exception(failure)
        assert kinds(await sending) == ([type(None)] if failure is None else [Unavailable])
        assert stopped() == shown
