"""Topics as `heliotrope topics` makes them, what the doctor says of others, and one user for each service."""

import time
from datetime import timedelta

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]
from typer.testing import CliRunner

from cli.doctor.kafka import check_kafka
from cli.main import app
from local.connections import choose_connections
from local.credentials import Secrets
from local.layout import Layout
from local.servers.kafka_cluster import KafkaCluster
from services.ingest.settings import IngestSettings
from shared.bus import Consumer, Record
from shared.bus.access import SERVICES, list_read_topics, name_group
from shared.bus.acls import list_rights
from shared.bus.kafka import KafkaBusConsumer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.bus.limits import describe_topics, find_size_limits, open_admin
from shared.bus.topics import plan_topics
from shared.dead_letters import DeadLetters
from shared.errors import TopicRefused, Unavailable
from shared.events import TOPICS, RolloutAdvanced
from tests.kafka.acls import revoke_all
from tests.kafka.topics import count_records

WEEK = timedelta(days=7)


@pytest.fixture
def as_admin(secured: KafkaCluster, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in (secured.environment() | {"HELIOTROPE_TOPIC_PREFIX": topic_prefix}).items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_topics_have_the_brokers_copies_and_the_retention_that_certificates_promise(
    secured: KafkaCluster, topic_prefix: str, as_admin: CliRunner
):
    made = as_admin.invoke(app, ["topics"])
    assert made.exit_code == 0, made.output
    assert "16 were made" in made.output
    admin = open_admin(secured.bootstrap_servers, secured.security())
    plans = plan_topics(topic_prefix, raw_retention=WEEK, max_event_bytes=IngestSettings().max_event_bytes)
    topics = admin.list_topics(timeout=10).topics
    for plan in plans:
        partitions = topics[plan.name].partitions.values()
        assert [len(each.replicas) for each in partitions] == 3 * [3]
    found = describe_topics(admin, [plan.name for plan in plans])
    raw, letters = f"{topic_prefix}feedback.received", f"{topic_prefix}feedback.received.curator.dlq"
    longest = int(found[raw]["retention.ms"]) + int(found[raw]["segment.ms"])
    assert longest == WEEK.total_seconds() * 1000
    assert found[f"{topic_prefix}{RolloutAdvanced.topic}"]["retention.ms"] == "-1"
    assert int(found[letters]["max.message.bytes"]) >= int(found[raw]["max.message.bytes"]) + 10_000
    again = as_admin.invoke(app, ["topics"])
    assert "0 were made" in again.output
    assert "was" not in again.output.replace("were", "")


def test_the_doctor_names_one_copy_a_retention_that_differs_and_a_limit_below_ours(
    secured: KafkaCluster, topic_prefix: str, as_admin: CliRunner, tmp_path
):
    admin = open_admin(secured.bootstrap_servers, secured.security())
    one, short, small = (f"{topic_prefix}{topic}" for topic in TOPICS[:3])
    others = [
        NewTopic(one, num_partitions=3, replication_factor=1),
        NewTopic(short, num_partitions=3, replication_factor=3, config={"retention.ms": "1000000"}),
        NewTopic(small, num_partitions=3, replication_factor=3, config={"max.message.bytes": "100000"}),
    ]
    for created in admin.create_topics(others).values():
        created.result(20)
    assert as_admin.invoke(app, ["topics"]).exit_code == 0
    time.sleep(1)  # until every broker has heard of them
    connections = choose_connections(
        Layout(tmp_path, 9000),
        Secrets("", "", "", "", "", "", ""),
        secured.environment() | {"HELIOTROPE_TOPIC_PREFIX": topic_prefix},
    )
    findings = {finding.check: finding for finding in check_kafka(connections)}
    assert findings["kafka"].verdict == "ok", findings["kafka"]
    assert (findings["copies"].verdict, one in findings["copies"].summary) == ("problem", True)
    assert short not in findings["copies"].summary
    assert f"{short}: retention.ms is 1000000" in findings["retention"].summary
    assert (findings["topic sizes"].verdict, f"{small} takes 100000" in findings["topic sizes"].summary) == (
        "problem",
        True,
    )
    done = as_admin.invoke(app, ["topics", "--set"])
    assert "is now" in done.output
    time.sleep(1)
    checks = {finding.check for finding in check_kafka(connections)}
    assert checks == {"kafka", "copies", "topic settings"}


def read(consumer: Consumer, count: int, seconds: float = 30) -> list[Record]:
    deadline = time.monotonic() + seconds
    records: list[Record] = []
    while len(records) < count and time.monotonic() < deadline:
        records += consumer.poll(0.5)
    consumer.close()
    return records


def test_one_user_for_each_service_with_the_printed_rights_and_nothing_else(
    secured: KafkaCluster, topic_prefix: str, as_admin: CliRunner
):
    assert as_admin.invoke(app, ["topics"]).exit_code == 0
    shown = as_admin.invoke(app, ["topics", "--acls"], env={"COLUMNS": "200"}).output
    rights = list_rights(topic_prefix)
    assert all(right.name in shown for right in rights)
    assert as_admin.invoke(app, ["topics", "--acls", "--apply"]).exit_code == 0
    time.sleep(2)  # until every broker has heard of them
    producers = {
        service: LibrdkafkaBusProducer(
            secured.bootstrap_servers, client_id=service, security=secured.security(service), deadline_seconds=8
        )
        for service in SERVICES
    }
    for service, access in SERVICES.items():
        allowed = {event.topic for event in access.writes}
        for topic in TOPICS:
            failure = send(producers[service], f"{topic_prefix}{topic}")
            assert (failure is None) == (topic in allowed), (service, topic, failure)
            assert failure is None or isinstance(failure, TopicRefused | Unavailable)
    for service in [name for name, access in SERVICES.items() if access.reads]:
        topics = list_read_topics(service, topic_prefix)
        waiting = sum(count_records(secured, topic) for topic in topics)
        consumer = LibrdkafkaBusConsumer(
            secured.bootstrap_servers,
            topics,
            name_group(service, topic_prefix),
            client_id=service,
            security=secured.security(service),
        )
        records = read(consumer, waiting)
        assert len(records) == waiting > 0
        assert consumer.read_errors() == {}
        DeadLetters(producers[service], service).put(records[0], "a test")
    for producer in producers.values():
        producer.close(5)
    follower = KafkaBusConsumer(
        secured.bootstrap_servers,
        [f"{topic_prefix}{RolloutAdvanced.topic}"],
        None,
        client_id="gateway",
        security=secured.security("gateway"),
    )
    assert len(read(follower, 1)) == 1
    as_ingest = open_admin(secured.bootstrap_servers, secured.security("ingest"))
    written = [f"{topic_prefix}{event.topic}" for event in SERVICES["ingest"].writes]
    assert set(find_size_limits(as_ingest, written)) == set(written)
    for service in SERVICES:
        revoke_all(secured, service)


def send(producer: LibrdkafkaBusProducer, topic: str) -> BaseException | None:
    try:
        return producer.send(Record(topic, b"key", b"{}", {"ce_id": "1"})).exception(20)
    except Unavailable as error:
        return error


def test_a_login_without_a_user_is_refused_at_once_by_its_name(secured: KafkaCluster, monkeypatch, tmp_path):
    environment = secured.environment() | {"HELIOTROPE_KAFKA_SASL_USERNAME": "", "HELIOTROPE_HOME": str(tmp_path)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    refused = CliRunner().invoke(app, ["up"])
    assert refused.exit_code != 0
    assert "HELIOTROPE_KAFKA_SASL_USERNAME" in refused.output
    assert time.monotonic() - started < 20
