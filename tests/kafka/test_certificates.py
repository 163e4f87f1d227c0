"""A broker's certificate that expires: told by consumers as their own trouble, over once the broker has another."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from local.servers.kafka_cluster import KafkaCluster
from shared.bus import Record
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.errors import Unavailable
from tests.kafka.acls import allow
from tests.kafka.topics import make_topic

LIFETIME = timedelta(seconds=25)
"""A broker does not start with a certificate that has expired: it must be up before."""


@pytest.fixture
def soon_expired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-tls"), users=["curator"]).start()
    yield cluster
    cluster.stop()


def read(consumer: LibrdkafkaBusConsumer, count: int, seconds: float = 40) -> list[bytes]:
    deadline, values = time.monotonic() + seconds, list[bytes]()
    while len(values) < count and time.monotonic() < deadline:
        values += [record.value for record in consumer.poll(0.5)]
    return values


@pytest.mark.faults
def test_an_expired_certificate_is_told_and_nothing_is_lost_over_its_renewal(soon_expired: KafkaCluster):
    cluster, user = soon_expired, soon_expired.security("curator")
    topic = make_topic(cluster, "certified", partitions=1)
    allow(cluster, "curator", "topic", topic, "read", "write")
    allow(cluster, "curator", "group", "g", "read")
    before = LibrdkafkaBusProducer(cluster.bootstrap_servers, client_id="test", security=user)
    before.send(Record(topic, b"k", b"1", {})).result(10)
    before.close(5)
    cluster.stop_node(1)
    cluster.renew_certificate(1, LIFETIME)
    expires_at = time.monotonic() + LIFETIME.total_seconds()
    cluster.start_node(1)
    time.sleep(max(0.0, expires_at + 2 - time.monotonic()))
    consumer = LibrdkafkaBusConsumer(cluster.bootstrap_servers, [topic], "g", client_id="test", security=user)
    producer = LibrdkafkaBusProducer(cluster.bootstrap_servers, client_id="test", security=user, deadline_seconds=5)
    assert isinstance(producer.send(Record(topic, b"k", b"refused", {})).exception(20), Unavailable)
    deadline = time.monotonic() + 30
    while not any(consumer.read_errors().values()) and time.monotonic() < deadline:
        consumer.poll(0.2)
    told = [words for words, is_own in consumer.read_errors().items() if is_own]
    assert any("certificate" in words for words in told), consumer.read_errors()
    assert consumer.lag() is None
    cluster.stop_node(1)
    cluster.renew_certificate(1)
    cluster.start_node(1)
    producer.send(Record(topic, b"k", b"2", {})).result(20)
    assert read(consumer, 2) == [b"1", b"2"]
    assert not any(consumer.read_errors().values())
    producer.close(5)
    consumer.close()
