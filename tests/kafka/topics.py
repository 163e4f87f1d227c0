"""Topics of a test: made, counted, read."""

from collections.abc import Mapping

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from local.servers.kafka_cluster import KafkaCluster
from shared.bus.limits import open_admin

SECONDS = 20


def make_topic(
    cluster: KafkaCluster, name: str, config: Mapping[str, object] | None = None, *, partitions: int = 3
) -> str:
    admin = open_admin(cluster.bootstrap_servers, cluster.security())
    settings = {setting: str(value) for setting, value in (config or {}).items()}
    admin.create_topics([NewTopic(name, num_partitions=partitions, config=settings)])[name].result(SECONDS)
    return name


def find_ends(cluster: KafkaCluster, topic: str) -> dict[int, tuple[int, int]]:
    """(oldest offset, next offset) of each partition."""
    reader = Consumer(
        {**cluster.security().for_librdkafka(), "bootstrap.servers": cluster.bootstrap_servers, "group.id": "look"}
    )
    try:
        partitions = reader.list_topics(topic, SECONDS).topics[topic].partitions
        return {each: reader.get_watermark_offsets(TopicPartition(topic, each), SECONDS) for each in partitions}
    finally:
        reader.close()


def count_records(cluster: KafkaCluster, topic: str) -> int:
    """How many were ever stored in it."""
    return sum(end for _, end in find_ends(cluster, topic).values())
