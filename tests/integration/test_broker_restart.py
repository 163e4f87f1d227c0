"""Producers and group members outlive a broker that comes back without its memory."""

import contextlib
import gc
import subprocess
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException
from kafka.errors import KafkaError

from local.servers.broker import serve_command
from local.supervision.readiness import is_port_free
from shared.bus import Record
from shared.bus.kafka import KafkaBusProducer, create_topics
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.errors import Unavailable
from shared.events import FeedbackReceived


@contextlib.contextmanager
def run_broker(port: int) -> Iterator[str]:
    address = f"127.0.0.1:{port}"
    broker = subprocess.Popen(serve_command(address), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while is_port_free(port):  # kafka-python leaks the socket of a client that finds nobody
            time.sleep(0.05)
        create_topics(address)
        yield address
    finally:
        broker.kill()
        broker.wait()


# kafka-python leaves the sockets open with which it tried to reach the broker while it was away
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("sent_before", [3, 0])
@pytest.mark.parametrize("kind", [KafkaBusProducer, LibrdkafkaBusProducer])
def test_a_producer_that_its_broker_has_forgotten_is_replaced(
    kind: type[KafkaBusProducer | LibrdkafkaBusProducer], sent_before: int
):
    port = next(port for port in range(18_141, 18_149) if is_port_free(port))
    record = Record(FeedbackReceived.topic, b"key", b"value")
    with contextlib.ExitStack() as stack:
        with run_broker(port) as address:
            producer = kind(address, client_id="test", deadline_seconds=3)
            stack.callback(producer.close, 5)
            for _ in range(sent_before):
                producer.send(record).result(10)
            time.sleep(1)  # an idle producer gets its id from the broker in the background
        with run_broker(port):
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                with contextlib.suppress(KafkaError, KafkaException, Unavailable):
                    producer.send(record).result(10)
                    break
                time.sleep(0.1)
            for _ in range(3):
                producer.send(record).result(10)
    gc.collect()  # so that what was left open is noticed here and not in the next test


def test_a_group_member_reads_the_new_log_of_a_broker_that_has_forgotten_it_from_its_beginning():
    port = next(port for port in range(18_141, 18_149) if is_port_free(port))
    with contextlib.ExitStack() as stack:
        with run_broker(port) as address:
            consumer = LibrdkafkaBusConsumer(address, [FeedbackReceived.topic], "group", client_id="test")
            stack.callback(consumer.close)
            before = {f"before {number}".encode() for number in range(300)}
            send(address, before)
            assert read(consumer, before) == before
        with run_broker(port):
            after = {f"after {number}".encode() for number in range(30)}
            send(address, after)
            assert read(consumer, after) == after


def send(address: str, values: set[bytes]) -> None:
    producer = LibrdkafkaBusProducer(address, client_id="test")
    for stored in [producer.send(Record(FeedbackReceived.topic, value, value)) for value in values]:
        stored.result(10)
    producer.close(5)


def read(consumer: LibrdkafkaBusConsumer, wanted: set[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    deadline = time.monotonic() + 40
    while found != wanted and time.monotonic() < deadline:
        found |= {record.value for record in consumer.poll(0.5)}
        consumer.commit()
    return found
