"""What a broker refuses: a record's fault puts the record aside, a topic's fault stops that topic's rows alone."""

import time
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session, sessionmaker

from cli.refused import SpoolStore
from local.servers.kafka_cluster import KafkaCluster
from services.gateway.adapters.spool import Spool
from services.gateway.adapters.spool_relay import SpoolRelay
from services.ingest.adapters.topic_limits import TopicLimits
from shared.bus import Record
from shared.bus.kafka import KafkaBusProducer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.limits import find_size_limits, open_admin
from shared.errors import RecordRefused, TooLarge
from shared.outbox import Relay
from shared.tables.trainer import Outbox, Refused
from tests.kafka.conftest import Report
from tests.kafka.topics import count_records, make_topic

ROWS = 10_000
LIMIT = 20_000


@pytest.fixture
def topic(one_broker: KafkaCluster, topic_prefix: str) -> str:
    return make_topic(one_broker, f"{topic_prefix}small", {"max.message.bytes": LIMIT})


def open_producer(cluster: KafkaCluster) -> LibrdkafkaBusProducer:
    return LibrdkafkaBusProducer(cluster.bootstrap_servers, client_id="test", security=cluster.security())


def fill_outbox(sessions: "sessionmaker[Session]", topic: str, refused_at: int | None) -> None:
    sizes = [LIMIT + 1 if number == refused_at else 100 for number in range(ROWS)]
    rows = [
        {"topic": topic, "key": b"%d" % number, "value": b"x" * size, "headers": {}}
        for number, size in enumerate(sizes)
    ]
    with sessions() as session, session.begin():
        session.execute(insert(Outbox), rows)


def drain(relay: Relay) -> float:
    started = time.perf_counter()
    while relay.relay_batch():
        pass
    return time.perf_counter() - started


@pytest.mark.faults  # it measures: not in the short form, which may share its machine
def test_one_refused_row_of_ten_thousand_costs_the_rest_next_to_nothing(
    one_broker: KafkaCluster, topic: str, sessions: "sessionmaker[Session]", report: Report
):
    producer = open_producer(one_broker)
    relay = Relay(sessions, Outbox, producer)
    times: dict[bool, list[float]] = {False: [], True: []}
    for is_refused in (False, True, True, False) * 3:  # the table bloats: neither always comes first
        fill_outbox(sessions, topic, ROWS // 2 if is_refused else None)
        times[is_refused].append(drain(relay))
    producer.close(5)
    ratio = median(times[True]) / median(times[False])
    report(f"{ROWS} rows: {times[False]} s without, {times[True]} s with a refused one: {ratio:.2f}")
    assert count_records(one_broker, topic) == 12 * ROWS - 6
    with sessions() as session:
        aside = session.scalars(select(Refused)).all()
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0
    assert [(row.topic, row.key, len(row.value)) for row in aside] == 6 * [(topic, b"5000", LIMIT + 1)]
    assert "size too large" in aside[0].reason
    assert ratio < 1.2


PLACES = {"first": {0}, "last": {99}, "neighbours": {49, 50, 51}, "all": set(range(100))}


@pytest.mark.parametrize("refused", PLACES.values(), ids=PLACES)
def test_wherever_refused_rows_stand_in_their_batch_they_alone_are_put_aside(
    one_broker: KafkaCluster, topic: str, sessions: "sessionmaker[Session]", tmp_path: Path, refused: set[int]
):
    values = [b"x" * (LIMIT + 1 if number in refused else 100) for number in range(100)]
    records = [Record(topic, b"%d" % number, value, {}) for number, value in enumerate(values)]
    producer = open_producer(one_broker)
    with sessions() as session, session.begin():
        session.add_all([Outbox(topic=topic, key=each.key, value=each.value, headers={}) for each in records])
    relay = Relay(sessions, Outbox, producer)
    assert relay.relay_batch() == 100
    assert relay.relay_batch() == 0
    with sessions() as session:
        assert {int(row.key) for row in session.scalars(select(Refused))} == refused
    assert count_records(one_broker, topic) == 100 - len(refused)
    spool = Spool(tmp_path / "spool.sqlite", max_rows=10_000, max_bytes=2**30)
    spool.start()
    spool.put(records).result(10)
    spool_relay = SpoolRelay(spool, lambda: producer)
    assert spool_relay.relay_batch() == 100
    assert spool.count() == spool_relay.relay_batch() == 0
    spool.close()
    producer.close(5)
    aside = SpoolStore(tmp_path / "spool.sqlite").load()
    assert {int(each.record.key) for each in aside} == refused
    assert count_records(one_broker, topic) == 2 * (100 - len(refused))


def test_a_spool_with_a_refused_record_and_a_topic_that_is_missing_empties_the_rest(
    secured: KafkaCluster, topic_prefix: str, tmp_path: Path
):
    small = make_topic(secured, f"{topic_prefix}small", {"max.message.bytes": LIMIT})
    missing = f"{topic_prefix}missing"
    spool = Spool(tmp_path / "spool.sqlite", max_rows=10_000, max_bytes=2**30)
    spool.start()
    sizes = [LIMIT + 1 if number == 300 else 100 for number in range(1_000)]
    spool.put([Record(small, b"%d" % number, b"x" * size, {}) for number, size in enumerate(sizes)]).result(10)
    spool.put([Record(missing, b"%d" % number, b"x", {}) for number in range(50)]).result(10)
    producer = open_producer(secured)
    relay = SpoolRelay(spool, lambda: producer)
    deadline = time.monotonic() + 60
    while spool.count() > 50 and time.monotonic() < deadline:
        relay.relay_batch()
    assert count_records(secured, small) == 999
    assert {record.topic for _, record in spool.read(10_000)} == {missing}
    make_topic(secured, missing)
    while spool.count() and time.monotonic() < deadline:
        if not relay.relay_batch():
            time.sleep(0.2)
    producer.close(5)
    spool.close()
    assert count_records(secured, missing) == 50


@pytest.mark.parametrize("adapter", [LibrdkafkaBusProducer, KafkaBusProducer])
def test_a_refused_record_takes_no_neighbour_of_its_batch_with_it(one_broker: KafkaCluster, topic: str, adapter):
    producer = adapter(one_broker.bootstrap_servers, client_id="test")
    sizes = [LIMIT + 1 if number == 50 else 300 for number in range(200)]
    sent = [producer.send(Record(topic, b"same", b"x" * size, {})) for size in sizes]
    failures = [stored.exception(30) for stored in sent]
    producer.close(5)
    assert [number for number, failure in enumerate(failures) if failure] == [50]
    assert isinstance(failures[50], RecordRefused)
    assert failures[50].too_large
    assert count_records(one_broker, topic) == 199


def test_the_broker_tells_what_its_topics_take(one_broker: KafkaCluster, topic: str):
    admin = open_admin(one_broker.bootstrap_servers)
    assert find_size_limits(admin, [topic, "no-such-topic"]) == {topic: LIMIT}
    limits = TopicLimits([topic], lambda topics: find_size_limits(admin, topics))
    limits.refresh()
    producer = open_producer(one_broker)
    headers = {"ce_id": "1", "ce_type": "heliotrope.feedback.received"}
    with pytest.raises(TooLarge, match="at most") as refusal:
        limits.check(Record(topic, b"key", b"x" * LIMIT, headers))
    most = int(refusal.value.detail.split("at most ")[1].split()[0])
    fitting = Record(topic, b"key", b"x" * most, headers)
    limits.check(fitting)
    producer.send(fitting).result(10)
    assert isinstance(producer.send(Record(topic, b"key", b"x" * (most + 40), headers)).exception(10), RecordRefused)
    producer.close(5)
