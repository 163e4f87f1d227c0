"""Asks Kafka what its topics are set to."""

from collections.abc import Mapping, Sequence
from concurrent.futures import wait

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ResourceType,
)

from shared.bus.admin import Admin
from shared.bus.security import PLAINTEXT, KafkaSecurity

ASK_SECONDS = 5.0


def open_admin(bootstrap_servers: str, security: KafkaSecurity = PLAINTEXT) -> Admin:
    """Return a client of Kafka's administration; it connects when it is first asked."""
    config = security.for_librdkafka()
    return Admin(config | {"bootstrap.servers": bootstrap_servers, "client.id": "heliotrope-admin", "log_level": 3})


def describe_topics(admin: AdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the settings of each topic by name; a topic that is missing, or that we may not ask about, is left out.

    Raises:
        KafkaException: no broker answered.
    """
    if not topics:
        return {}
    asked = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic) for topic in topics], request_timeout=ASK_SECONDS
    )
    wait(asked.values(), ASK_SECONDS + 1)
    described: dict[str, dict[str, str]] = {}
    for resource, answer in asked.items():
        try:
            described[resource.name] = {name: entry.value for name, entry in answer.result(0).items()}
        except KafkaException as error:
            if error.args[0].code() < 0:  # librdkafka's own: it heard nothing
                raise
    return described


def find_size_limits(admin: AdminClient, topics: Sequence[str]) -> Mapping[str, int]:
    """Return `max.message.bytes` of each topic that tells it. Raises: KafkaException: no broker answered."""
    described = describe_topics(admin, topics)
    return {
        topic: int(config["max.message.bytes"]) for topic, config in described.items() if "max.message.bytes" in config
    }
