"""How far each consumer group is behind."""

import time

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import KafkaError
from kafka.structs import TopicPartition

from local.connections import Connections
from shared.bus.reachability import check_broker
from shared.bus.security import PLAINTEXT, KafkaSecurity
from shared.events import TOPICS


def measure_lag(bootstrap_servers: str, topic_prefix: str, security: KafkaSecurity = PLAINTEXT) -> dict[str, int]:
    """Group -> records of our topics that wait for it: not committed yet, and still there. Partitions that it never
    committed count in full.

    Raises:
        KafkaError: the broker does not answer.
    """
    ours = {topic_prefix + topic for topic in TOPICS}
    config = {"bootstrap_servers": bootstrap_servers.split(","), **security.for_kafka_python()}
    admin = KafkaAdminClient(**config)
    reader = KafkaConsumer(**config)
    try:
        names = [group["group_id"] for group in admin.list_groups()]
        committed = admin.list_group_offsets(dict.fromkeys(names)) if names else {}
        lag: dict[str, int] = {}
        for name, offsets in committed.items():
            positions = {partition: offset.offset for partition, offset in offsets.items() if partition.topic in ours}
            if not positions:
                continue
            topics = {partition.topic for partition in positions}
            everything = [
                TopicPartition(topic, n) for topic in topics for n in reader.partitions_for_topic(topic) or ()
            ]
            oldest = reader.beginning_offsets(everything) if everything else {}
            ends = reader.end_offsets(everything) if everything else {}
            lag[name] = sum(max(0, end - max(oldest[at], positions.get(at, 0))) for at, end in ends.items())
        return lag
    finally:
        reader.close(autocommit=False)
        admin.close()


def wait_until_consumed(connections: Connections, deadline_seconds: float = 20) -> bool:
    """Return whether every group has caught up within the deadline."""
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            servers, prefix = connections.kafka_bootstrap_servers, connections.topic_prefix
            check_broker(servers)
            if not any(measure_lag(servers, prefix, connections.kafka_security).values()):
                return True
        except (KafkaError, OSError):
            return False
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
