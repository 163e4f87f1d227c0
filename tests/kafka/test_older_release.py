"""What Heliotrope asks of Kafka exists in the oldest release that it supports: the bus, topics, groups set back.

The broker is today's, behind a proxy in which it offers what that release offered: the protocol is the old one, what a
broker does with it is not.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from local.servers.kafka_cluster import KafkaCluster
from shared.bus import Record
from shared.bus.limits import describe_topics, find_size_limits, open_admin
from shared.bus.rewinding import find_offsets, keep_back, set_offsets
from shared.bus.topics import apply_plans, ensure_topics, find_differences, plan_topics
from tests.contract import test_bus, test_librdkafka_consumer
from tests.contract.test_bus import LibrdkafkaBus, producer, topic
from tests.faults.saboteur import wait_until
from tests.kafka.conftest import Report
from tests.kafka.older_release import OlderRelease

__all__ = ["producer", "topic"]

OLDEST = (3, 0)
WEEK = timedelta(days=7)
globals().update({name: test for name, test in vars(test_bus).items() if name.startswith("test_")})
globals().update(
    {f"{name}_grouped": test for name, test in vars(test_librdkafka_consumer).items() if name[:5] == "test_"}
)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OlderRelease]:
    proxy = OlderRelease(OLDEST)
    settings = {"advertised.listeners": f"PLAINTEXT://{proxy.address}"}
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-older"), settings=settings).start()
    proxy.lead_to(cluster.bootstrap_servers)
    yield proxy
    cluster.stop()
    proxy.close()


@pytest.fixture
def kafka_bootstrap(older: OlderRelease) -> Iterator[str]:
    yield older.address
    assert not older.refused


@pytest.fixture(params=["kafka", "librdkafka"])
def bus(request: pytest.FixtureRequest, kafka_bootstrap: str) -> test_bus.KafkaBus:
    kind = test_bus.KafkaBus if request.param == "kafka" else LibrdkafkaBus
    return kind(kafka_bootstrap)


def test_topics_are_made_compared_and_set(kafka_bootstrap: str, topic_prefix: str):
    admin = open_admin(kafka_bootstrap)
    plans = plan_topics(topic_prefix, raw_retention=WEEK, max_event_bytes=2**20)
    assert len(ensure_topics(admin, plans)) == len(plans)
    names = [plan.name for plan in plans]
    assert set(find_size_limits(admin, names)) == set(describe_topics(admin, names)) == set(names)
    changed = plan_topics(topic_prefix, raw_retention=WEEK / 2, max_event_bytes=2**20)
    differences = find_differences(admin, changed)
    assert differences
    apply_plans(admin, differences)
    wait_until(lambda: find_differences(admin, changed) == [], "the topics are set", 20)


def test_a_group_is_set_back_by_time(kafka_bootstrap: str, topic_prefix: str):
    topic = f"{topic_prefix}feedback.received"
    bus = LibrdkafkaBus(kafka_bootstrap)
    sender, reader = bus.producer(), bus.consumer(topic, f"{topic_prefix}group")
    began = datetime.now(UTC)
    sender.send(Record(topic, b"key", b"value")).result(20)
    assert [record.value for record in test_bus.read(reader, 1)] == [b"value"]
    reader.commit()
    reader.close()
    places = find_offsets(kafka_bootstrap, [topic], began - timedelta(minutes=1))
    assert sum(max(0, place.offset) for place in places) == 0
    admin, group = open_admin(kafka_bootstrap), f"{topic_prefix}group"
    set_offsets(admin, group, keep_back(admin, group, places))
    again = bus.consumer(topic, f"{topic_prefix}group")
    assert len(test_bus.read(again, 1)) == 1
    again.close()
    sender.close(5)


def test_nothing_newer_was_asked_for(older: OlderRelease, report: Report):
    """Last of this module."""
    report(f"highest version of each request, by its number: {dict(sorted(older.used.items()))}")
    assert older.used
    assert not older.refused
