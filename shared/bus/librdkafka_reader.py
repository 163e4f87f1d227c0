"""Reads whole topics from their beginning, in no group, and tells what keeps it from that."""

import logging
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from shared.bus import Gap, Record
from shared.bus.librdkafka_consumer import UNREACHABLE, read_message
from shared.bus.read_errors import ReadErrors
from shared.bus.security import PLAINTEXT, KafkaSecurity

ASK_SECONDS = 2.0
LOOK_SECONDS = 5.0
"""Between two looks at which partitions there are."""


class LibrdkafkaBusReader:
    """Every record of every partition, those that are added later too; it needs a right to the topics alone."""

    def __init__(
        self,
        bootstrap_servers: str,
        topics: list[str],
        *,
        client_id: str,
        max_records: int = 1000,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._topics = topics
        self._max_records = max_records
        self._errors = ReadErrors()
        self._assigned: set[tuple[str, int]] = set()
        self._look_at = 0.0
        self._consumer = Consumer(
            {
                **security.for_librdkafka(),
                "bootstrap.servers": bootstrap_servers,
                "client.id": client_id,
                "group.id": f"{client_id}-reader",  # librdkafka wants one; nothing is committed to it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 3,
                "error_cb": self._hear,
            },
            logger=logging.getLogger("librdkafka"),
        )

    def _hear(self, error: KafkaError) -> None:
        if error.code() in UNREACHABLE or error.fatal():
            self._errors.note("", error.code(), error.str())

    def _look(self) -> None:
        """Assign the partitions that are new; note the topics that cannot be read."""
        if time.monotonic() < self._look_at:
            return
        for topic in self._topics:
            try:
                described = self._consumer.list_topics(topic, ASK_SECONDS).topics[topic]
            except KafkaException:
                break  # no broker answers: the error callback tells
            if described.error is not None:
                self._errors.note(topic, described.error.code(), described.error.str())
                continue
            self._errors.pass_for_brokers()
            found = {(topic, number) for number in described.partitions}
            new = [TopicPartition(*place, OFFSET_BEGINNING) for place in sorted(found - self._assigned)]
            if new:
                self._consumer.incremental_assign(new)
            self._assigned |= found
        self._look_at = time.monotonic() + LOOK_SECONDS

    def poll(self, timeout_seconds: float) -> list[Record]:
        self._look()
        records = []
        for message in self._consumer.consume(self._max_records, timeout_seconds):
            error, topic = message.error(), message.topic()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                self._errors.pass_for(topic or "")
            elif topic:  # without one it is about the group, which nothing is wanted of
                self._errors.note(topic, error.code(), error.str())
            if error is None:
                records.append(read_message(message))
        return records

    def commit(self) -> None:
        """Do nothing: everything is read each time."""

    def lag(self) -> int | None:
        """Unknown: nobody asks a reader of everything."""

    def read_errors(self) -> dict[str, bool]:
        return self._errors.describe()

    def take_gaps(self) -> list[Gap]:
        """Never any: it has no place from before."""
        return []

    def close(self) -> None:
        self._consumer.close()
