"""The bus as a service uses it: one producer, and one consumer in the service's group."""

from shared.bus.access import list_read_topics, name_group
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.settings import Settings

BATCH_RECORDS = 1000


def open_producer(settings: Settings, service: str) -> LibrdkafkaBusProducer:
    """Open a producer; it connects when it first sends."""
    return LibrdkafkaBusProducer(
        settings.kafka_bootstrap_servers, client_id=f"heliotrope-{service}", security=settings.kafka_security
    )


def open_consumer(settings: Settings, service: str) -> LibrdkafkaBusConsumer:
    """Return a member of the service's group, on the topics that the service reads."""
    return LibrdkafkaBusConsumer(
        settings.kafka_bootstrap_servers,
        list_read_topics(service, settings.topic_prefix),
        name_group(service, settings.topic_prefix),
        client_id=f"heliotrope-{service}",
        security=settings.kafka_security,
        session_timeout_seconds=settings.consumer_session_timeout_seconds,
        max_records=BATCH_RECORDS,
    )
