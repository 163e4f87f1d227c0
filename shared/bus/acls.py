"""The rights in Kafka that each service needs: derived from what it reads and writes, printed or granted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from shared.bus.access import SERVICES, list_read_topics, name_group
from shared.dead_letters import dead_letter_topic

GRANT_SECONDS = 30.0


@dataclass(frozen=True)
class Right:
    """One operation of one service on one topic or group. Reading and writing imply describing."""

    service: str
    resource: Literal["topic", "group"]
    name: str
    operation: Literal["Read", "Write", "DescribeConfigs"]


def list_rights(topic_prefix: str = "") -> list[Right]:
    """Return what every service needs, and nothing more."""
    return [right for service in SERVICES for right in _list_rights(service, topic_prefix)]


def _list_rights(service: str, topic_prefix: str) -> Iterator[Right]:
    access = SERVICES[service]
    for event in access.writes:
        yield Right(service, "topic", topic_prefix + event.topic, "Write")
    if service == "ingest":  # tells front ends what the topics take
        for event in access.writes:
            yield Right(service, "topic", topic_prefix + event.topic, "DescribeConfigs")
    for topic in list_read_topics(service, topic_prefix):
        yield Right(service, "topic", topic, "Read")
        yield Right(service, "topic", dead_letter_topic(topic, service), "Write")
    for event in access.follows:
        yield Right(service, "topic", topic_prefix + event.topic, "Read")
    if access.reads:
        yield Right(service, "group", name_group(service, topic_prefix), "Read")


def grant(admin: AdminClient, rights: Sequence[Right], user_prefix: str = "") -> None:
    """Add the ACLs to those that are there, for users named `user_prefix` and the service. Raises: KafkaException."""
    operations = {
        "Read": AclOperation.READ,
        "Write": AclOperation.WRITE,
        "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    }
    bindings = [
        AclBinding(
            ResourceType.TOPIC if right.resource == "topic" else ResourceType.GROUP,
            right.name,
            ResourcePatternType.LITERAL,
            f"User:{user_prefix}{right.service}",
            "*",
            operations[right.operation],
            AclPermissionType.ALLOW,
        )
        for right in rights
    ]
    for granted in admin.create_acls(bindings, request_timeout=GRANT_SECONDS).values():
        granted.result(GRANT_SECONDS)
