"""What retention took before a group had read it."""

import time
from collections.abc import Iterator

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.structs import TopicPartition

from shared.bus.access import SERVICES, list_read_topics, name_group, plan_dead_letter_topics
from shared.bus.security import PLAINTEXT, KafkaSecurity

READ_SECONDS = 5.0


def measure_losses(bootstrap_servers: str, topic_prefix: str, security: KafkaSecurity = PLAINTEXT) -> dict[str, int]:
    """Consumer -> records that are gone unread: those it has noted among its dead letters, and those it will note.

    Raises:
        KafkaError: the broker does not answer.
    """
    config = {"bootstrap_servers": bootstrap_servers.split(","), **security.for_kafka_python()}
    admin, reader = KafkaAdminClient(**config), KafkaConsumer(**config)
    try:
        present = set(admin.list_topics())
        losses = dict.fromkeys(SERVICES, 0)
        for service in SERVICES:
            losses[service] += _count_passed(admin, reader, service, topic_prefix)
        for topic, _, service in plan_dead_letter_topics(topic_prefix):
            if topic in present:
                losses[service] += sum(_read_notes(reader, topic))
        return {service: count for service, count in losses.items() if count}
    finally:
        reader.close(autocommit=False)
        admin.close()


def _count_passed(admin: KafkaAdminClient, reader: KafkaConsumer, service: str, topic_prefix: str) -> int:
    """What lies between a group's committed offsets and the oldest records: nobody has noted it yet."""
    topics, group = list_read_topics(service, topic_prefix), name_group(service, topic_prefix)
    offsets = admin.list_group_offsets({group: None}).get(group, {}) if topics else {}
    committed = {at: each.offset for at, each in offsets.items() if at.topic in topics and each.offset >= 0}
    oldest = reader.beginning_offsets(list(committed)) if committed else {}
    return sum(max(0, low - committed[at]) for at, low in oldest.items())


def _read_notes(reader: KafkaConsumer, topic: str) -> Iterator[int]:
    """How many records each note on a dead-letter topic stands for."""
    partitions = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic) or ()]
    ends = reader.end_offsets(partitions) if partitions else {}
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    deadline = time.monotonic() + READ_SECONDS
    while any(reader.position(at) < end for at, end in ends.items()) and time.monotonic() < deadline:
        for batch in reader.poll(timeout_ms=200).values():
            for message in batch:
                yield from (int(value) for name, value in message.headers if name == "dlq_lost")
