"""The consumer of every service that reads in a group: librdkafka, some fifty times as fast as kafka-python."""

import logging
from contextlib import suppress
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from shared.bus import Record
from shared.bus.security import PLAINTEXT, KafkaSecurity

ASK_SECONDS = 5.0
PASSING = frozenset(
    {
        KafkaError._NO_OFFSET,
        KafkaError._STATE,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
"""Of a commit: the partition has another owner by now, who handles the records again."""


class LibrdkafkaBusConsumer:
    """A member of `group`. Fetches ahead in the background, at most `queued_megabytes`."""

    def __init__(
        self,
        bootstrap_servers: str,
        topics: list[str],
        group: str,
        *,
        client_id: str,
        session_timeout_seconds: float = 6.0,
        max_records: int = 1000,
        queued_megabytes: int = 32,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._max_records = max_records
        self._positions: dict[tuple[str, int], int] = {}
        self._consumer = Consumer(
            {
                **security.for_librdkafka(),
                "bootstrap.servers": bootstrap_servers,
                "client.id": client_id,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": int(session_timeout_seconds * 1000),
                "heartbeat.interval.ms": int(session_timeout_seconds * 1000 / 6),
                "queued.max.messages.kbytes": queued_megabytes * 1024,
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 1_000,
                "topic.metadata.refresh.interval.ms": 5_000,
                "log_level": 3,
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._consumer.subscribe(topics, on_lost=self._forget, on_revoke=self._forget)

    def _forget(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._positions.pop((partition.topic, partition.partition), None)

    def poll(self, timeout_seconds: float) -> list[Record]:
        """The first records there are, without waiting for `max_records` of them."""
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(self._max_records - 1, 0)]
        return [self._read(message) for message in messages if message.error() is None]

    def _read(self, message: Message) -> Record:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        headers = cast("list[tuple[str, str | bytes | None]]", message.headers() or [])
        self._positions[topic, partition] = offset + 1
        return Record(
            topic=topic,
            key=_bytes(message.key()),
            value=_bytes(message.value()),
            headers={name: _bytes(value).decode(errors="replace") for name, value in headers},
            partition=partition,
            offset=offset,
        )

    def commit(self) -> None:
        """Losing the partition meanwhile is no error: its next owner handles the records again, idempotently."""
        if not self._positions:
            return
        offsets = [TopicPartition(topic, partition, at) for (topic, partition), at in self._positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
                raise
        self._positions.clear()

    def lag(self) -> int:
        waiting = 0
        with suppress(KafkaException):
            assigned = self._consumer.assignment()
            committed = {(at.topic, at.partition): at.offset for at in self._consumer.committed(assigned, ASK_SECONDS)}
            for at in self._consumer.position(assigned):
                low, end = self._consumer.get_watermark_offsets(at, timeout=ASK_SECONDS)
                reached = at.offset if at.offset >= 0 else committed[at.topic, at.partition]
                waiting += max(0, end - max(low, reached))
        return waiting

    def close(self) -> None:
        self._consumer.close()


def _bytes(content: str | bytes | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""
