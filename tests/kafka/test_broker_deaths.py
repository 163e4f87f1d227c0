"""One group member and one producer, each with its own rights alone, while every broker is killed in turn."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.servers.kafka_cluster import KafkaCluster
from shared.bus import encode
from shared.bus.access import name_group
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.errors import HeliotropeError
from tests.faults.saboteur import wait_until
from tests.kafka.acls import allow, revoke_all
from tests.kafka.conftest import Report
from tests.kafka.test_consumer_errors import TOPIC, consuming
from tests.kafka.topics import make_topic
from tests.unit.shared.kafka.test_consumer import Recorder, thumb

DOWN_SECONDS = 12.0
"""Longer than it takes the others to take over its partitions, and its groups."""
PAUSE_SECONDS = 0.1
LONGEST_SILENCE_SECONDS = 60.0


class Acknowledged:
    """Sends one event after another; `events` are those that a broker has acknowledged."""

    def __init__(self, cluster: KafkaCluster, prefix: str) -> None:
        self._producer = LibrdkafkaBusProducer(
            cluster.bootstrap_servers, client_id="ingest", security=cluster.security("ingest"), deadline_seconds=8
        )
        self._prefix = prefix
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_all)
        self.events: list[str] = []
        self.refusals = 0

    def _send_all(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            event = thumb()
            record = encode(event, source="test", topic_prefix=self._prefix)
            try:
                self._producer.send(record).result(20)
            except (HeliotropeError, TimeoutError):
                self.refusals += 1
            else:
                self.events.append(event.identity)

    @contextmanager
    def sending(self) -> Iterator["Acknowledged"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join(30)
            self._producer.close(5)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_consumer_reads_on_whichever_broker_dies(secured: KafkaCluster, topic_prefix: str, report: Report):
    topic = make_topic(secured, f"{topic_prefix}{TOPIC}")
    allow(secured, "ingest", "topic", topic, "write")
    allow(secured, "curator", "group", name_group("curator", topic_prefix), "read")
    allow(secured, "curator", "topic", topic, "read")
    handler, silences = Recorder(), []
    sender = Acknowledged(secured, topic_prefix)
    with consuming(secured, topic_prefix, handler), sender.sending():
        wait_until(lambda: len(handler.handled) > 20, "events are read", 60)
        for node in secured.nodes:
            secured.kill(node)
            time.sleep(1)
            known, killed_at = len(handler.handled), time.monotonic()
            wait_until(lambda known=known: len(handler.handled) > known + 20, f"broker {node} is dead", 120)  # type: ignore[misc]
            silences.append(time.monotonic() - killed_at)
            time.sleep(max(0.0, DOWN_SECONDS - silences[-1]))
            secured.start_node(node)
            time.sleep(DOWN_SECONDS)
    with consuming(secured, topic_prefix, handler):
        wait_until(lambda: set(sender.events) <= set(handler.handled), "all that was acknowledged is read", 60)
    report(
        f"{len(sender.events)} events acknowledged, {sender.refusals} refused and not sent again; 20 more were read "
        f"{', '.join(f'{each:.1f}' for each in silences)} s after a broker's death"
    )
    assert max(silences) < LONGEST_SILENCE_SECONDS
    revoke_all(secured, "ingest")
    revoke_all(secured, "curator")
