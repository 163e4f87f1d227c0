"""The curator's consumer keeps the promises of the bus port over Kafka's protocol."""

import time

from shared.bus import Consumer, Record
from shared.bus.kafka import KafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer


def send(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = KafkaBusProducer(bootstrap, client_id="test")
    for value in values:
        producer.send(Record(topic, b"same", value, {"ce_id": "1"})).result(10)
    producer.close(5)


def read(consumer: Consumer, count: int, seconds: float = 30) -> list[Record]:
    deadline = time.monotonic() + seconds
    records: list[Record] = []
    while len(records) < count and time.monotonic() < deadline:
        records += consumer.poll(0.5)
    return records


def join(bootstrap: str, topic: str) -> LibrdkafkaBusConsumer:
    return LibrdkafkaBusConsumer(bootstrap, [topic], f"{topic}group", client_id="test", max_records=3)


def test_a_successor_starts_after_the_commit_and_not_before(kafka_bootstrap: str, topic_prefix: str):
    topic = f"{topic_prefix}sample.happened"
    send(kafka_bootstrap, topic, b"0", b"1", b"2", b"3")
    first = join(kafka_bootstrap, topic)
    records = read(first, 4)
    assert [record.value for record in records] == [b"0", b"1", b"2", b"3"]
    assert (records[0].key, records[0].headers, records[0].offset) == (b"same", {"ce_id": "1"}, 0)
    first.commit()
    send(kafka_bootstrap, topic, b"4", b"5")
    assert len(read(first, 2)) == 2
    first.close()  # without a commit: the last two come again
    second = join(kafka_bootstrap, topic)
    assert [record.value for record in read(second, 2)] == [b"4", b"5"]
    second.close()


def test_a_poll_returns_what_there_is_and_lag_is_what_waits(kafka_bootstrap: str, topic_prefix: str):
    topic = f"{topic_prefix}sample.happened"
    send(kafka_bootstrap, topic, b"1")
    consumer = join(kafka_bootstrap, topic)
    assert len(read(consumer, 1)) == 1
    assert consumer.lag() == 0
    send(kafka_bootstrap, topic, b"2", b"3", b"4")
    assert consumer.lag() == 3
    consumer.close()
