"""One behaviour, three adapters: the same promises in memory and, by either client, over Kafka's protocol."""

import queue
import time
from collections.abc import Iterator

import pytest

from shared.bus import Consumer, Producer, Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer, create_topics
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.bus.librdkafka_reader import LibrdkafkaBusReader
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.events import FeedbackReceived


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


class LibrdkafkaBus(KafkaBus):
    def producer(self) -> Producer:
        return LibrdkafkaBusProducer(self.bootstrap, client_id="test")

    def consumer(self, topic: str, group: str | None) -> Consumer:
        if group is None:
            return LibrdkafkaBusReader(self.bootstrap, [topic], client_id="test")
        return LibrdkafkaBusConsumer(self.bootstrap, [topic], group, client_id="test")


@pytest.fixture(params=["memory", "kafka", "librdkafka"])
def bus(request: pytest.FixtureRequest) -> MemoryBus | KafkaBus:
    if request.param == "memory":
        return MemoryBus()
    kind = KafkaBus if request.param == "kafka" else LibrdkafkaBus
    return kind(request.getfixturevalue("kafka_bootstrap"))


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


def test_each_delivered_record_is_settled_once_when_it_is_stored(
    bus: MemoryBus | KafkaBus, topic: str, producer: Producer
):
    settled: queue.Queue[tuple[int, BaseException | None]] = queue.Queue()
    records = [Record(topic, b"same", str(number).encode(), {"ce_id": str(number)}) for number in range(200)]
    producer.deliver(records, lambda index, failure: settled.put((index, failure)))
    assert sorted(settled.get(timeout=10) for _ in records) == [(index, None) for index in range(200)]
    consumer = bus.consumer(topic, None)
    assert [record.value for record in read(consumer, 200)] == [record.value for record in records]
    assert consumer.poll(0.2) == []
    consumer.close()
    assert settled.empty()


def test_a_record_too_large_for_the_client_fails_alone(kafka_bootstrap: str, topic_prefix: str):
    producer = LibrdkafkaBusProducer(kafka_bootstrap, client_id="test")
    settled: queue.Queue[tuple[int, BaseException | None]] = queue.Queue()
    topic = f"{topic_prefix}sample.happened"
    records = [Record(topic, b"a", b"1"), Record(topic, b"b", b"x" * 17 * 2**20), Record(topic, b"c", b"3")]
    producer.deliver(records, lambda index, failure: settled.put((index, failure)))
    outcomes = dict(settled.get(timeout=10) for _ in records)
    producer.close(5)
    assert [outcomes[index] is None for index in range(3)] == [True, False, True]


def test_both_clients_choose_the_same_partition_for_a_key(kafka_bootstrap: str, topic_prefix: str):
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix, partitions=3)
    topic = topic_prefix + FeedbackReceived.topic
    partitions: list[dict[bytes, int]] = []
    for bus in (KafkaBus(kafka_bootstrap), LibrdkafkaBus(kafka_bootstrap)):
        producer, consumer = bus.producer(), bus.consumer(topic, None)
        stored = [producer.send(Record(topic, str(number).encode(), b"value")) for number in range(30)]
        for each in stored:
            each.result(10)
        partitions.append({record.key: record.partition for record in read(consumer, 30)})
        producer.close(5)
        consumer.close()
    assert partitions[0] == partitions[1]
    assert len(set(partitions[0].values())) == 3


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
