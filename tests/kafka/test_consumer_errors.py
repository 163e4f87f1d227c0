"""A consumer that may not read, or that retention has passed, says so."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from cli.main import app
from local.servers.kafka_cluster import KafkaCluster
from local.stack.lag import measure_lag
from local.stack.losses import measure_losses
from shared.bus import Record, encode
from shared.bus.access import name_group
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.bus.librdkafka_reader import LibrdkafkaBusReader
from shared.bus.limits import open_admin
from shared.consumer import CannotRead, ConsumerLoop
from shared.dead_letters import DeadLetters, dead_letter_topic
from shared.events import FeedbackReceived, Thumb
from shared.ids import new_id
from tests.builders import make_feedback
from tests.kafka.acls import allow, revoke_all
from tests.kafka.topics import count_records, find_ends, make_topic
from tests.unit.shared.kafka.test_consumer import FakeSession, Recorder

TOPIC = FeedbackReceived.topic
EVENTS = 300


def read_metric(name: str, **labels: str) -> float:
    """A counter that was never shown is at zero."""
    value = REGISTRY.get_sample_value(name, labels)
    return 0.0 if value is None else value


def wait_for(what: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def consuming(cluster: KafkaCluster, prefix: str, handler: Recorder, user: str = "curator") -> Iterator[ConsumerLoop]:
    """A consumer loop as the curator has it, in a thread."""
    security = cluster.security(user)
    topic, group = f"{prefix}{TOPIC}", name_group("curator", prefix)
    consumer = LibrdkafkaBusConsumer(cluster.bootstrap_servers, [topic], group, client_id="test", security=security)
    producer = LibrdkafkaBusProducer(cluster.bootstrap_servers, client_id="test", security=security)
    sessions: Any = FakeSession
    loop = ConsumerLoop("curator", consumer, handler, sessions, DeadLetters(producer, "curator"), topics=[topic])
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    try:
        yield loop
    finally:
        stop.set()
        thread.join(30)
        producer.close(5)


def send(cluster: KafkaCluster, topic: str, count: int) -> None:
    producer = LibrdkafkaBusProducer(cluster.bootstrap_servers, client_id="test", security=cluster.security())
    events = [make_feedback(new_id(), new_id(), Thumb(value="up"), key_id="k") for _ in range(count)]
    for stored in [producer.send(Record(topic, b"same", encode(event, source="test").value, {})) for event in events]:
        stored.result(20)
    producer.close(5)


def cannot_read(loop: ConsumerLoop) -> bool:
    try:
        loop.check()
    except CannotRead:
        return True
    return False


@pytest.mark.parametrize("missing", ["group", "topic"])
def test_a_consumer_without_a_right_is_not_ready_and_its_lag_is_unknown_until_it_has_it(
    secured: KafkaCluster, topic_prefix: str, missing: str
):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}", partitions=1)
    group = name_group("curator", topic_prefix)
    make_topic(secured, dead_letter_topic(topic, "curator"), partitions=1)
    send(secured, topic, 5)
    grants = {"group": ("group", group, "read"), "topic": ("topic", topic, "read")}
    for kind, grant in grants.items():
        if kind != missing:
            allow(secured, "curator", *grant)
    handler = Recorder()
    before = read_metric("heliotrope_consumer_errors_total", consumer="curator")
    with consuming(secured, topic_prefix, handler) as loop:
        wait_for(lambda: cannot_read(loop))
        time.sleep(6)
        assert cannot_read(loop)
        assert handler.handled == []
        assert read_metric("heliotrope_consumer_problems", consumer="curator") >= 1
        assert read_metric("heliotrope_consumer_errors_total", consumer="curator") == before + 1
        assert math.isnan(read_metric("heliotrope_consumer_lag_records", consumer="curator"))
        allow(secured, "curator", *grants[missing])
        wait_for(lambda: len(handler.handled) == 5)
        wait_for(lambda: not cannot_read(loop))
        assert read_metric("heliotrope_consumer_problems", consumer="curator") == 0
    revoke_all(secured, "curator")


def test_a_right_that_is_taken_away_while_nothing_comes_is_told_and_its_return_too(
    secured: KafkaCluster, topic_prefix: str
):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}", partitions=1)
    group = name_group("curator", topic_prefix)
    allow(secured, "curator", "group", group, "read")
    allow(secured, "curator", "topic", topic, "read")
    send(secured, topic, 1)
    handler = Recorder()
    with consuming(secured, topic_prefix, handler) as loop:
        wait_for(lambda: len(handler.handled) == 1)
        revoke_all(secured, "curator", "topic")
        wait_for(lambda: cannot_read(loop))
        allow(secured, "curator", "topic", topic, "read")
        wait_for(lambda: not cannot_read(loop))
    revoke_all(secured, "curator")


def test_what_retention_took_from_a_stopped_consumer_is_counted_noted_and_listed(
    one_broker: KafkaCluster, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
):
    topic = make_topic(one_broker, f"{topic_prefix}{TOPIC}", partitions=1)
    letters = dead_letter_topic(topic, "curator")
    send(one_broker, topic, 2)
    handler = Recorder()
    with consuming(one_broker, topic_prefix, handler):
        wait_for(lambda: len(handler.handled) == 2)
        time.sleep(1)
    send(one_broker, topic, EVENTS)
    admin = open_admin(one_broker.bootstrap_servers)
    [deleted] = admin.delete_records([TopicPartition(topic, 0, 2 + EVENTS)]).values()
    deleted.result(20)
    assert find_ends(one_broker, topic)[0] == (2 + EVENTS, 2 + EVENTS)
    assert measure_losses(one_broker.bootstrap_servers, topic_prefix) == {"curator": EVENTS}
    assert measure_lag(one_broker.bootstrap_servers, topic_prefix)[name_group("curator", topic_prefix)] == 0
    before = read_metric("heliotrope_consumer_lost_records_total", consumer="curator", topic=topic)
    for _ in range(2):  # the second time its offset has moved past what is gone
        with consuming(one_broker, topic_prefix, handler):
            wait_for(lambda: read_metric("heliotrope_consumer_lag_records", consumer="curator") == 0)
            wait_for(lambda: count_records(one_broker, letters) == 1)
            time.sleep(1)
    lost = read_metric("heliotrope_consumer_lost_records_total", consumer="curator", topic=topic)
    assert lost - before == EVENTS
    assert count_records(one_broker, letters) == 1
    assert measure_losses(one_broker.bootstrap_servers, topic_prefix) == {"curator": EVENTS}
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", one_broker.bootstrap_servers)
    monkeypatch.setenv("HELIOTROPE_TOPIC_PREFIX", topic_prefix)
    listed = CliRunner().invoke(app, ["dead-letters", "list"], env={"COLUMNS": "200"}).stdout
    assert f"retention took {EVENTS} records unread: offsets 2 to {1 + EVENTS}" in listed
    replayed = CliRunner().invoke(app, ["dead-letters", "replay", TOPIC, "--consumer", "curator"]).stdout
    assert "0 sent" in replayed
    send(one_broker, topic, 1)
    with consuming(one_broker, topic_prefix, handler):
        wait_for(lambda: len(handler.handled) == 3)


def test_a_gateway_that_may_not_read_routing_tables_says_so_until_it_may(secured: KafkaCluster, topic_prefix: str):
    topic = make_topic(secured, f"{topic_prefix}rollout.advanced", partitions=2)
    send(secured, topic, 3)
    security = secured.security("gateway")
    reader = LibrdkafkaBusReader(secured.bootstrap_servers, [topic], client_id="gateway", security=security)
    records = reader.poll(2)
    wait_for(lambda: bool(reader.poll(0.2) or any(reader.read_errors().values())))
    assert records == []
    assert [topic in words for words in reader.read_errors()] == [True]
    allow(secured, "gateway", "topic", topic, "read")
    deadline = time.monotonic() + 40
    while len(records) < 3 and time.monotonic() < deadline:
        records += reader.poll(0.5)
    assert len(records) == 3
    assert reader.read_errors() == {}
    reader.close()
    revoke_all(secured, "gateway")
