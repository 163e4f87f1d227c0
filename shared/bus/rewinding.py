"""Sets consumer groups back: what a database restored to an earlier time lacks is read again."""

from collections.abc import Sequence
from datetime import datetime

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from shared.bus.security import PLAINTEXT, KafkaSecurity

ASK_SECONDS = 30.0


def find_offsets(
    bootstrap_servers: str, topics: Sequence[str], at: datetime, security: KafkaSecurity = PLAINTEXT
) -> list[TopicPartition]:
    """Return for every partition the first offset of a record from `at` or later; its end if there is none.

    Raises:
        KafkaException: no broker answers, or a topic is missing.
    """
    # a group of no one: it only asks
    config = security.for_librdkafka() | {"bootstrap.servers": bootstrap_servers, "group.id": "heliotrope-rewind"}
    reader = Consumer(config)
    try:
        wanted = []
        for topic in topics:
            described = reader.list_topics(topic, ASK_SECONDS).topics[topic]
            if described.error is not None:
                raise KafkaException(described.error)
            wanted += [TopicPartition(topic, number, int(at.timestamp() * 1000)) for number in described.partitions]
        found = reader.offsets_for_times(wanted, ASK_SECONDS)
        for place in found:
            if place.offset < 0:
                _, place.offset = reader.get_watermark_offsets(place, ASK_SECONDS)
        return list(found)
    finally:
        reader.close()


def keep_back(admin: AdminClient, group: str, places: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return the places with the group's own offset where it has not come so far: nobody is set forward past what he
    has not read. Where it has read nothing yet, and so begins at the oldest record, there is none.

    Raises:
        KafkaException: no broker answers.
    """
    [answer] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    own = {(at.topic, at.partition): at.offset for at in answer.result(ASK_SECONDS).topic_partitions if at.offset >= 0}
    return [
        TopicPartition(place.topic, place.partition, min(place.offset, own[place.topic, place.partition]))
        for place in places
        if (place.topic, place.partition) in own
    ]


def set_offsets(admin: AdminClient, group: str, places: Sequence[TopicPartition]) -> None:
    """Commit the offsets in the name of a group that has no member.

    Raises:
        KafkaException: the group has members, or no broker answers.
    """
    request = [ConsumerGroupTopicPartitions(group, list(places))]
    [answer] = admin.alter_consumer_group_offsets(request).values()
    for place in answer.result(ASK_SECONDS).topic_partitions:
        if place.error is not None:
            raise KafkaException(place.error)


def is_in_use(error: KafkaException) -> bool:
    """Return whether a group could not be set because it has members."""
    return error.args[0].code() in (KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID)
