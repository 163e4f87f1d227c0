"""Postgres restored from an hour ago, Kafka intact: groups are set back by time, nothing is missing or counts twice."""

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from bench.curator.history import make_history
from bench.curator.tables import store
from cli.main import app
from local.connections import Connections
from local.servers.kafka_cluster import KafkaCluster
from local.servers.postgres import create_database, drop_database
from shared.bus import encode
from shared.events import Event
from tests.faults.curator.test_killed_curator import read_ids, read_state
from tests.kafka.conftest import Report
from tests.kafka.crew import Crew, count_events, wait_until_stored

PROMPTS, SEED = 1_000, 5
HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 240.0
"""Of a machine with much else to do; the time it takes is told."""


def send_as_of(cluster: KafkaCluster, prefix: str, events: Sequence[Event], start: datetime, end: datetime) -> None:
    """Send the events as if they came evenly from `start` to `end`."""
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", "partitioner": "murmur2_random"}
    )
    step = (end - start) / len(events)
    for number, event in enumerate(events):
        record = encode(event, source="test", topic_prefix=prefix)
        at = int((start + number * step).timestamp() * 1000)
        producer.produce(record.topic, record.value, record.key, timestamp=at, headers={**record.headers})
        producer.poll(0)
    assert producer.flush(30) == 0


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_what_a_database_restored_from_an_hour_ago_lacks_is_read_again_and_counts_once(
    one_broker: KafkaCluster,
    topic_prefix: str,
    stores: Connections,
    migrated_template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: Report,
):
    names = [f"{topic_prefix.rstrip('.')}_{name}" for name in ("shop", "backup", "undisturbed")]
    server = stores.database_server_url
    shop = create_database(server, names[0], template=migrated_template)
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", one_broker.bootstrap_servers)
    monkeypatch.setenv("HELIOTROPE_TOPIC_PREFIX", topic_prefix)
    assert CliRunner().invoke(app, ["topics"]).exit_code == 0
    history = list(make_history(PROMPTS, SEED))
    before, since = history[: len(history) // 2], history[len(history) // 2 :]
    now = datetime.now(UTC)
    send_as_of(one_broker, topic_prefix, before, now - 2 * HOUR, now - HOUR - timedelta(minutes=1))
    with closing(Crew(shop, one_broker, topic_prefix, tmp_path, 1)):
        wait_until_stored(shop, len(before), PATIENCE_SECONDS)
        time.sleep(2)  # its offsets
    restored = create_database(server, names[1], template=names[0])
    send_as_of(one_broker, topic_prefix, since, now - HOUR, now)
    with closing(Crew(shop, one_broker, topic_prefix, tmp_path, 1)):
        wait_until_stored(shop, len(history), PATIENCE_SECONDS)
        time.sleep(2)
        in_use = CliRunner().invoke(app, ["topics", "rewind", "--to", "2026-01-01T00:00:00", "--consumer", "curator"])
        assert in_use.exit_code == 1
        assert "stop curator first" in in_use.output
    assert count_events(restored) == len(before)
    time.sleep(7)  # until the group has noticed that its member is gone
    started = time.monotonic()
    to = (now - HOUR).strftime("%Y-%m-%dT%H:%M:%S")
    rewound = CliRunner().invoke(app, ["topics", "rewind", "--to", to])
    assert rewound.exit_code == 0, rewound.output
    command_seconds = time.monotonic() - started
    with closing(Crew(restored, one_broker, topic_prefix, tmp_path, 1)):
        wait_until_stored(restored, len(history), PATIENCE_SECONDS)
        seconds = time.monotonic() - started
        time.sleep(2)
    undisturbed = create_database(server, names[2], template=migrated_template)
    store(undisturbed, PROMPTS, SEED)
    found, sent = read_ids(restored), {str(getattr(each, "event_id", None) or each.interaction_id) for each in history}
    lost, twice = len(sent - set(found)), len(found) - len(set(found))
    report(
        f"{len(history)} events, {len(since)} missing in the backup: groups set back in {command_seconds:.1f} s, all "
        f"there {seconds:.1f} s after the command began; lost {lost}, twice {twice}"
    )
    assert (lost, twice) == (0, 0)
    one, other = read_state(restored, tmp_path / "restored"), read_state(undisturbed, tmp_path / "undisturbed")
    assert one == other
    for name in names:
        drop_database(server, name)
