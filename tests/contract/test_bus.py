"""One behaviour, two adapters: the same promises in memory and over Kafka's protocol."""

import time
from collections.abc import Iterator

import pytest

from shared.bus import Consumer, Producer, Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer


class MemoryBus:
    def __init__(self) -> None:
        self.broker = MemoryBroker()

    def producer(self) -> Producer:
        return MemoryProducer(self.broker)

    def consumer(self, topic: str, group: str | None) -> Consumer:
        return MemoryConsumer(self.broker, [topic], group)


class KafkaBus:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def producer(self) -> Producer:
        return KafkaBusProducer(self.bootstrap, client_id="test")

    def consumer(self, topic: str, group: str | None) -> Consumer:
        return KafkaBusConsumer(self.bootstrap, [topic], group, client_id="test")


@pytest.fixture(params=["memory", "kafka"])
def bus(request: pytest.FixtureRequest) -> MemoryBus | KafkaBus:
    if request.param == "memory":
        return MemoryBus()
    return KafkaBus(request.getfixturevalue("kafka_bootstrap"))


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    prefix = request.getfixturevalue("topic_prefix") if "kafka" in request.node.name else ""
    return f"{prefix}sample.happened"


@pytest.fixture
def producer(bus: MemoryBus | KafkaBus) -> Iterator[Producer]:
    producer = bus.producer()
    yield producer
    producer.close(5)


def read(consumer: Consumer, count: int, seconds: float = 30) -> list[Record]:
    deadline = time.monotonic() + seconds
    records: list[Record] = []
    while len(records) < count and time.monotonic() < deadline:
        records += consumer.poll(0.5)
    return records


def test_a_record_arrives_as_it_was_sent(bus: MemoryBus | KafkaBus, topic: str, producer: Producer):
    producer.send(Record(topic, b"key", b"value", {"ce_id": "1", "ce_source": "/here"})).result(10)
    consumer = bus.consumer(topic, None)
    [record] = read(consumer, 1)
    consumer.close()
    assert (record.topic, record.key, record.value) == (topic, b"key", b"value")
    assert record.headers == {"ce_id": "1", "ce_source": "/here"}
    assert record.offset == 0


def test_records_of_one_key_keep_their_order(bus: MemoryBus | KafkaBus, topic: str, producer: Producer):
    sent = [producer.send(Record(topic, b"same", str(number).encode())) for number in range(50)]
    for stored in sent:
        stored.result(10)
    consumer = bus.consumer(topic, None)
    records = read(consumer, 50)
    consumer.close()
    assert [int(record.value) for record in records] == list(range(50))


def test_a_successor_starts_after_the_commit_and_not_before(bus: MemoryBus | KafkaBus, topic: str, producer: Producer):
    for number in range(4):
        producer.send(Record(topic, b"same", str(number).encode())).result(10)
    first = bus.consumer(topic, "g")
    assert len(read(first, 4)) == 4
    first.commit()
    for number in range(4, 6):
        producer.send(Record(topic, b"same", str(number).encode())).result(10)
    assert len(read(first, 2)) == 2
    first.close()  # without a commit: the last two come again
    second = bus.consumer(topic, "g")
    assert [int(record.value) for record in read(second, 2)] == [4, 5]
    second.close()


def test_lag_is_what_waits(bus: MemoryBus | KafkaBus, topic: str, producer: Producer):
    producer.send(Record(topic, b"a", b"1")).result(10)
    consumer = bus.consumer(topic, "g")
    assert len(read(consumer, 1)) == 1
    assert consumer.lag() == 0
    for _ in range(3):
        producer.send(Record(topic, b"a", b"2")).result(10)
    assert consumer.lag() == 3
    consumer.close()


def test_a_reader_without_a_group_sees_everything_each_time(bus: MemoryBus | KafkaBus, topic: str, producer: Producer):
    producer.send(Record(topic, b"a", b"1")).result(10)
    for _ in range(2):
        reader = bus.consumer(topic, None)
        assert len(read(reader, 1)) == 1
        reader.commit()
        reader.close()
