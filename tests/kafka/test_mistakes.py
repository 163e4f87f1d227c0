"""What operators do to topics and rights while services run: told, survived, and nothing acknowledged is skipped."""

import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from local.servers.kafka_cluster import KafkaCluster
from shared.bus import Producer, Record
from shared.bus.access import name_group
from shared.bus.kafka import KafkaBusProducer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_reader import LibrdkafkaBusReader
from shared.bus.limits import open_admin
from shared.dead_letters import dead_letter_topic
from shared.errors import TopicRefused, Unavailable
from tests.kafka.acls import allow, revoke_all
from tests.kafka.test_consumer_errors import TOPIC, cannot_read, consuming, send, wait_for
from tests.kafka.topics import count_records, make_topic
from tests.unit.shared.kafka.test_consumer import Recorder

CLIENTS = {"librdkafka": LibrdkafkaBusProducer, "kafka-python": KafkaBusProducer}


def delete_topic(cluster: KafkaCluster, topic: str) -> None:
    admin = open_admin(cluster.bootstrap_servers, cluster.security())
    admin.delete_topics([topic])[topic].result(20)
    wait_for(lambda: topic not in admin.list_topics(timeout=10).topics)


def set_password(cluster: KafkaCluster, user: str, password: str) -> None:
    admin = open_admin(cluster.bootstrap_servers, cluster.security())
    mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    [done] = admin.alter_user_scram_credentials(
        [UserScramCredentialUpsertion(user, mechanism, password.encode())]
    ).values()
    done.result(20)


def try_to_send(producer: Producer, topic: str) -> BaseException | None:
    """None once it is stored."""
    try:
        sent: Future[None] = producer.send(Record(topic, b"key", b"value", {"ce_id": "1"}))
    except (TopicRefused, Unavailable) as refusal:
        return refusal
    return sent.exception(30)


def is_taken(producer: Producer, topic: str) -> bool:
    return try_to_send(producer, topic) is None


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One broker is enough here."""
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-mistakes"), users=["ingest", "curator"]).start()
    yield cluster
    cluster.stop()


@pytest.fixture(params=CLIENTS)
def producer(request: pytest.FixtureRequest, secured: KafkaCluster, topic_prefix: str):
    allow(secured, "ingest", "topic", f"{topic_prefix}{TOPIC}", "write")
    security = secured.security("ingest")
    opened = CLIENTS[request.param](secured.bootstrap_servers, client_id="test", deadline_seconds=6, security=security)
    yield opened
    opened.close(5)
    revoke_all(secured, "ingest")


def test_a_producer_goes_on_once_it_may_write_again(secured: KafkaCluster, topic_prefix: str, producer: Producer):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}")
    wait_for(lambda: is_taken(producer, topic))
    revoke_all(secured, "ingest")
    wait_for(lambda: not is_taken(producer, topic))
    assert isinstance(try_to_send(producer, topic), TopicRefused | Unavailable)
    allow(secured, "ingest", "topic", topic, "write")
    wait_for(lambda: is_taken(producer, topic))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_producer_that_may_write_nowhere_hears_it_of_its_topic_and_goes_on_once_it_may(
    secured: KafkaCluster, topic_prefix: str, client: str
):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}")
    security = secured.security("ingest")
    producer = CLIENTS[client](secured.bootstrap_servers, client_id="test", deadline_seconds=6, security=security)
    for _ in range(2):
        assert isinstance(try_to_send(producer, topic), TopicRefused)
    allow(secured, "ingest", "topic", topic, "write")
    wait_for(lambda: is_taken(producer, topic))
    producer.close(5)
    revoke_all(secured, "ingest")


def test_a_producer_goes_on_once_its_topic_was_made_anew(secured: KafkaCluster, topic_prefix: str, producer: Producer):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}")
    for _ in range(5):
        wait_for(lambda: is_taken(producer, topic))
    delete_topic(secured, topic)
    assert isinstance(try_to_send(producer, topic), TopicRefused | Unavailable)
    make_topic(secured, topic)
    wait_for(lambda: is_taken(producer, topic))
    assert count_records(secured, topic) >= 1


@pytest.mark.parametrize("count", [3, 50], ids=["fewer", "more"])
def test_a_consumer_whose_topic_is_deleted_says_so_and_reads_the_new_one_from_its_beginning(
    secured: KafkaCluster, topic_prefix: str, count: int
):
    """With `count` records in the new one: fewer than it had read before, or more."""
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}", partitions=1)
    allow(secured, "curator", "group", name_group("curator", topic_prefix), "read")
    allow(secured, "curator", "topic", topic, "read")
    handler = Recorder()
    with consuming(secured, topic_prefix, handler) as loop:
        send(secured, topic, 5)
        wait_for(lambda: len(handler.handled) == 5)
        time.sleep(1)  # its offsets
        delete_topic(secured, topic)
        wait_for(lambda: cannot_read(loop))
        make_topic(secured, topic, partitions=1)
        send(secured, topic, count)
        wait_for(lambda: len(set(handler.handled)) == 5 + count)
        send(secured, topic, 4)
        wait_for(lambda: len(set(handler.handled)) == 9 + count)
        wait_for(lambda: not cannot_read(loop))
    revoke_all(secured, "curator")


def test_a_group_that_may_not_be_read_any_more_is_told_while_nothing_comes_and_its_return_too(
    secured: KafkaCluster, topic_prefix: str
):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}", partitions=1)
    group = name_group("curator", topic_prefix)
    allow(secured, "curator", "group", group, "read")
    allow(secured, "curator", "topic", topic, "read")
    handler = Recorder()
    with consuming(secured, topic_prefix, handler) as loop:
        send(secured, topic, 1)
        wait_for(lambda: len(handler.handled) == 1)
        revoke_all(secured, "curator", "group")
        wait_for(lambda: cannot_read(loop), 60)
        send(secured, topic, 1)
        allow(secured, "curator", "group", group, "read")
        wait_for(lambda: len(set(handler.handled)) == 2)
        wait_for(lambda: not cannot_read(loop))
    revoke_all(secured, "curator")


def test_a_password_that_is_changed_is_told_at_the_next_login_and_its_return_too(
    secured: KafkaCluster, topic_prefix: str
):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}", partitions=1)
    allow(secured, "curator", "group", name_group("curator", topic_prefix), "read")
    allow(secured, "curator", "topic", topic, "read")
    handler = Recorder()
    with consuming(secured, topic_prefix, handler) as loop:
        send(secured, topic, 1)
        wait_for(lambda: len(handler.handled) == 1)
        set_password(secured, "curator", "another")
        secured.stop_node(1)
        secured.start_node(1)
        wait_for(lambda: cannot_read(loop), 60)
        send(secured, topic, 1)
        set_password(secured, "curator", secured.passwords["curator"])
        wait_for(lambda: len(set(handler.handled)) == 2, 60)
        wait_for(lambda: not cannot_read(loop))
    revoke_all(secured, "curator")


def test_a_follower_whose_topic_is_deleted_says_so_and_reads_the_new_one(secured: KafkaCluster, topic_prefix: str):
    topic = make_topic(secured, f"{topic_prefix}rollout.advanced", partitions=1)
    send(secured, topic, 3)
    reader = LibrdkafkaBusReader(secured.bootstrap_servers, [topic], client_id="gateway", security=secured.security())
    records: list[Record] = []

    def read() -> int:
        records.extend(reader.poll(0.5))
        return len(records)

    wait_for(lambda: read() == 3)
    delete_topic(secured, topic)
    wait_for(lambda: bool(read() and reader.read_errors()))
    make_topic(secured, topic, partitions=1)
    send(secured, topic, 2)
    wait_for(lambda: read() == 5)
    wait_for(lambda: bool(read() and not reader.read_errors()))
    reader.close()


@pytest.mark.parametrize("limit", [None, 2_000], ids=["missing", "too small"])
def test_without_a_dead_letter_topic_that_takes_it_a_consumer_waits_and_says_so(
    secured: KafkaCluster, topic_prefix: str, limit: int | None
):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}", partitions=1)
    letters = dead_letter_topic(topic, "curator")
    if limit:
        make_topic(secured, letters, {"max.message.bytes": limit}, partitions=1)
    sender = LibrdkafkaBusProducer(secured.bootstrap_servers, client_id="test", security=secured.security())
    sender.send(Record(topic, b"key", b"no event" * 500)).result(20)
    send(secured, topic, 3)
    handler = Recorder()
    with consuming(secured, topic_prefix, handler, user="admin") as loop:
        wait_for(lambda: cannot_read(loop), 60)
        assert handler.handled == []
        if limit:
            delete_topic(secured, letters)
        make_topic(secured, letters, partitions=1)
        wait_for(lambda: len(handler.handled) == 3, 60)
        wait_for(lambda: not cannot_read(loop))
    assert count_records(secured, letters) == 1
    sender.close(5)
