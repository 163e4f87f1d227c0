"""Where a consumer goes on: after retention passed some of its partitions, in a topic made anew, without a group."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import TopicPartition
from typer.testing import CliRunner

from cli.main import app
from local.servers.kafka_cluster import KafkaCluster
from shared.bus import Record, encode, librdkafka_consumer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.limits import open_admin
from shared.dead_letters import dead_letter_topic
from tests.kafka.test_consumer_errors import TOPIC, cannot_read, consuming, read_metric, send, wait_for
from tests.kafka.test_mistakes import delete_topic
from tests.kafka.topics import count_records, find_ends, make_topic
from tests.unit.shared.kafka.test_consumer import Recorder, thumb

PARTITIONS = 3


def send_to_all(cluster: KafkaCluster, topic: str, count: int) -> dict[int, int]:
    """Send `count` events under as many keys; how many records each partition has then."""
    producer = LibrdkafkaBusProducer(cluster.bootstrap_servers, client_id="test")
    values = [encode(thumb(), source="test").value for _ in range(count)]
    for stored in [producer.send(Record(topic, b"%d" % key, value)) for key, value in enumerate(values)]:
        stored.result(20)
    producer.close(5)
    return {partition: end for partition, (_, end) in find_ends(cluster, topic).items()}


def delete_before(cluster: KafkaCluster, topic: str, offsets: dict[int, int]) -> None:
    places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    for deleted in open_admin(cluster.bootstrap_servers).delete_records(places).values():
        deleted.result(20)


def test_what_retention_took_from_some_partitions_is_counted_also_where_nothing_was_read_before(
    one_broker: KafkaCluster, topic_prefix: str
):
    topic = make_topic(one_broker, f"{topic_prefix}{TOPIC}", partitions=PARTITIONS)
    letters = make_topic(one_broker, dead_letter_topic(topic, "curator"))
    handler = Recorder()
    with consuming(one_broker, topic_prefix, handler):
        send(one_broker, topic, 2)  # of one key: the other partitions are empty when it stops
        wait_for(lambda: len(handler.handled) == 2)
        time.sleep(1)
    before = {partition: end for partition, (_, end) in find_ends(one_broker, topic).items()}
    assert sorted(before.values()) == [0, 0, 2]
    ends = send_to_all(one_broker, topic, 90)
    [read_from] = [partition for partition, end in before.items() if end]
    passed = [read_from, (read_from + 1) % PARTITIONS]
    delete_before(one_broker, topic, {partition: ends[partition] - 5 for partition in passed})
    gone = sum(ends[partition] - 5 - before[partition] for partition in passed)
    counted = read_metric("heliotrope_consumer_lost_records_total", consumer="curator", topic=topic)
    with consuming(one_broker, topic_prefix, handler):
        wait_for(lambda: len(handler.handled) == 2 + 90 - gone)
    lost = read_metric("heliotrope_consumer_lost_records_total", consumer="curator", topic=topic) - counted
    assert lost == gone > 0
    assert count_records(one_broker, letters) == len(passed)


@pytest.mark.parametrize("count", [3, 50], ids=["fewer", "more"])
def test_a_topic_that_was_made_anew_while_its_consumer_was_down_is_read_from_its_beginning(
    one_broker: KafkaCluster, topic_prefix: str, count: int
):
    topic = make_topic(one_broker, f"{topic_prefix}{TOPIC}", partitions=1)
    handler = Recorder()
    send(one_broker, topic, 10)
    with consuming(one_broker, topic_prefix, handler):
        wait_for(lambda: len(handler.handled) == 10)
        time.sleep(1)
    delete_topic(one_broker, topic)
    make_topic(one_broker, topic, partitions=1)
    send(one_broker, topic, count)
    with consuming(one_broker, topic_prefix, handler) as loop:
        wait_for(lambda: len(handler.handled) == 10 + count)
        assert not cannot_read(loop)


def test_a_topic_that_is_made_anew_at_once_is_read_from_its_beginning(one_broker: KafkaCluster, topic_prefix: str):
    """A consumer may hear of neither: its place in the old one is a place in the new one."""
    topic = make_topic(one_broker, f"{topic_prefix}{TOPIC}", partitions=1)
    handler = Recorder()
    with consuming(one_broker, topic_prefix, handler):
        send(one_broker, topic, 10)
        wait_for(lambda: len(handler.handled) == 10)
        delete_topic(one_broker, topic)
        make_topic(one_broker, topic, partitions=1)
        send(one_broker, topic, 50)
        wait_for(lambda: len(set(handler.handled)) == 60)


def test_a_group_that_is_behind_is_set_back_and_not_forward(
    one_broker: KafkaCluster, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", one_broker.bootstrap_servers)
    monkeypatch.setenv("HELIOTROPE_TOPIC_PREFIX", topic_prefix)
    assert CliRunner().invoke(app, ["topics", "--partitions", "1"]).exit_code == 0
    topic, handler = f"{topic_prefix}{TOPIC}", Recorder()
    send(one_broker, topic, 5)
    with consuming(one_broker, topic_prefix, handler):
        wait_for(lambda: len(handler.handled) == 5)
        time.sleep(1)
    send(one_broker, topic, 20)
    later = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S")
    rewound = CliRunner().invoke(app, ["topics", "rewind", "--to", later, "--margin-seconds", "0"])
    assert rewound.exit_code == 0, rewound.output
    assert "20 records" in rewound.output
    with consuming(one_broker, topic_prefix, handler):
        wait_for(lambda: len(handler.handled) == 25)


def test_a_consumer_whose_group_has_no_coordinator_is_not_ready_and_its_lag_is_unknown(
    tmp_path_factory: pytest.TempPathFactory, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
):
    """As with Kafka's defaults on a single broker: offsets are to have three copies."""
    monkeypatch.setattr(librdkafka_consumer, "JOIN_SECONDS", 5.0)
    settings = {"offsets.topic.replication.factor": 3}
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-no-group"), settings=settings).start()
    try:
        make_topic(cluster, f"{topic_prefix}{TOPIC}", partitions=1)
        with consuming(cluster, topic_prefix, Recorder()) as loop:
            wait_for(lambda: cannot_read(loop))
            assert str(read_metric("heliotrope_consumer_lag_records", consumer="curator")) == "nan"
    finally:
        cluster.stop()
