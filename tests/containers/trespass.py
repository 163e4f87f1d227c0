"""Runs in ingest's container: tries in Redis and Kafka what is others' to do, and prints what each answered."""

import sys

from confluent_kafka import Consumer, KafkaException
from redis import Redis, RedisError

from shared.events import RolloutAdvanced
from shared.settings import Settings, load_settings

WAIT_SECONDS = 15.0


def ask_redis(url: str) -> str:
    """Look into the trainer's queue; return the error's name."""
    try:
        Redis.from_url(url, socket_timeout=WAIT_SECONDS).lrange("training", 0, 0)
    except RedisError as error:
        return type(error).__name__
    return "allowed"


def ask_kafka(settings: Settings, **login: str) -> str:
    """Ask for a topic that ingest neither reads nor writes; return the error's name."""
    told: list[str] = []
    given = settings.kafka_security.for_librdkafka() | login
    servers = {"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "heliotrope-trespass"}
    consumer = Consumer(servers | given | {"error_cb": lambda error: told.append(error.name())})
    try:
        error = consumer.list_topics(RolloutAdvanced.topic, WAIT_SECONDS).topics[RolloutAdvanced.topic].error
        return error.name() if error else "allowed"
    except KafkaException:
        consumer.poll(1)
        return next(name for name in told if "AUTH" in name)
    finally:
        consumer.close()


if __name__ == "__main__":
    settings = load_settings(Settings)
    redis_url = settings.redis_url.get_secret_value()
    answers = (
        ask_redis(redis_url),
        ask_redis(f"redis://{redis_url.rpartition('@')[2]}"),
        ask_kafka(settings),
        ask_kafka(settings, **{"sasl.password": "guessed"}),
    )
    sys.stdout.write(" ".join(answers))
