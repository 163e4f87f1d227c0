"""The bus over Kafka's protocol, with kafka-python; keeps to the protocol's common core."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    TopicAlreadyExistsError,
)
from kafka.structs import OffsetAndMetadata, TopicPartition

from shared.bus import Gap, Record, Settle
from shared.bus.failures import describe_failure
from shared.bus.security import PLAINTEXT, KafkaSecurity
from shared.errors import RecordRefused, TopicRefused, Unavailable
from shared.events import TOPICS

MAX_RECORD_BYTES = 16 * 2**20
"""What the client sends: beyond any limit of ours, so that the topic's own limit decides."""


class KafkaBusProducer:
    """Idempotent, acks=all: a resolved future means that every in-sync replica has the record.

    An idempotent producer that its broker has forgotten (a broker that came back without its state) never recovers by
    itself, and does not always know it: after a record that failed it may keep every later one waiting for ever. So a
    producer whose record failed is replaced by a new one. What it still held has failed, and its senders send it again.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        client_id: str,
        deadline_seconds: float = 10.0,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._config = {
            **security.for_kafka_python(),
            "bootstrap_servers": bootstrap_servers.split(","),
            "client_id": client_id,
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 2,
            "delivery_timeout_ms": int(deadline_seconds * 1000),
            "request_timeout_ms": int(deadline_seconds * 500),
            "max_block_ms": 2_000,
            "max_request_size": MAX_RECORD_BYTES,
        }
        self._deadline_seconds = deadline_seconds
        self._replacing = threading.Lock()
        # send() blocks for up to `max_block_ms` while the broker is away
        self._delivering = ThreadPoolExecutor(1, "bus-deliver")
        self._producer = KafkaProducer(**self._config)
        self._single: KafkaProducer | None = None
        self._is_suspect = False

    def send(self, record: Record) -> "Future[None]":
        stored: Future[None] = Future()
        try:
            producer = self._working_producer()
            pending = producer.send(
                record.topic,
                key=record.key,
                value=record.value,
                headers=[(name, value.encode()) for name, value in record.headers.items()],
            )
        except KafkaTimeoutError as error:
            raise Unavailable("the broker cannot be reached, or the producer's buffer is full") from error
        except (KafkaError, TypeError, ValueError, AssertionError) as error:
            stored.set_exception(_describe(record.topic, error))
            return stored
        pending.add_callback(lambda _: stored.set_result(None))
        pending.add_errback(partial(self._fail, producer, record, stored))
        return stored

    def _fail(self, producer: KafkaProducer, record: Record, stored: "Future[None]", error: BaseException) -> None:
        failure = _describe(record.topic, error)
        if isinstance(failure, RecordRefused):
            self._delivering.submit(self._send_alone, record, stored)
            return
        if producer is self._producer and not isinstance(failure, TopicRefused):
            self._is_suspect = True
        stored.set_exception(failure)

    def _send_alone(self, record: Record, stored: "Future[None]") -> None:
        """Send a record in a batch of its own, since a batch is refused for one of its records; waits for it."""
        try:
            if self._single is None or _has_failed_for_good(self._single):
                self._single = KafkaProducer(**self._config | {"batch_size": 0}, bootstrap_timeout_ms=2_000)
            headers = [(name, value.encode()) for name, value in record.headers.items()]
            sent = self._single.send(record.topic, key=record.key, value=record.value, headers=headers)
            sent.get(timeout=self._deadline_seconds)
        except Exception as error:
            stored.set_exception(_describe(record.topic, error))
        else:
            stored.set_result(None)

    def deliver(self, records: Sequence[Record], settle: Settle) -> None:
        self._delivering.submit(self._deliver, records, settle, time.monotonic() + self._deadline_seconds)

    def _deliver(self, records: Sequence[Record], settle: Settle, give_up_at: float) -> None:
        """What nobody waits for any more is not sent: it would keep others waiting."""
        for index, record in enumerate(records):
            try:
                if time.monotonic() > give_up_at:
                    raise TimeoutError("its sender has been told to send it again")
                stored = self.send(record)
            except Exception as error:
                settle(index, error)
            else:
                stored.add_done_callback(partial(_pass_on, settle, index))

    def _working_producer(self) -> KafkaProducer:
        """The producer, or a new one if it can send nothing any more. Raises: KafkaTimeoutError."""
        if not self._must_be_replaced:
            return self._producer
        with self._replacing:
            if self._must_be_replaced:
                successor = KafkaProducer(**self._config, bootstrap_timeout_ms=2_000)
                predecessor, self._producer, self._is_suspect = self._producer, successor, False
                predecessor.close(timeout=0)
        return self._producer

    @property
    def _must_be_replaced(self) -> bool:
        return self._is_suspect or _has_failed_for_good(self._producer)

    def close(self, timeout_seconds: float) -> None:
        self._delivering.shutdown()
        self._producer.close(timeout=timeout_seconds)
        if self._single is not None:
            self._single.close(timeout=timeout_seconds)


def _describe(topic: str, error: BaseException) -> Exception:
    if isinstance(error, KafkaError):
        return describe_failure(getattr(error, "errno", 0) or 0, topic, f"{type(error).__name__}: {error}")
    return RecordRefused(f"{topic}: the client takes no such record: {error}")


def _pass_on(settle: Settle, index: int, stored: "Future[None]") -> None:
    settle(index, stored.exception())


def _has_failed_for_good(producer: KafkaProducer) -> bool:
    # kafka-python tells it nowhere else: every later send just fails
    return bool(producer._transaction_manager.has_fatal_error())


class KafkaBusConsumer:
    """A member of `group`; without one, a reader of every partition from the beginning.

    No service reads in a group through this one: kafka-python 3.0.12 can lose a new assignment when a poll times out in
    the middle of a rebalance. It then goes on with the old one, and what it should have read is skipped.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topics: list[str],
        group: str | None,
        *,
        client_id: str,
        session_timeout_seconds: float = 6.0,
        max_records: int = 500,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._max_records = max_records
        self._positions: dict[TopicPartition, int] = {}
        self._consumer = KafkaConsumer(
            **security.for_kafka_python(),
            bootstrap_servers=bootstrap_servers.split(","),
            client_id=client_id,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(session_timeout_seconds * 1000 / 6),
            max_poll_records=max_records,
        )
        self._grouped = group is not None
        self._topics = topics
        self._consumer.subscribe(topics)

    def poll(self, timeout_seconds: float) -> list[Record]:
        batches = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000), max_records=self._max_records)
        records: list[Record] = []
        for partition, batch in batches.items():
            for message in batch:
                records.append(
                    Record(
                        topic=message.topic,
                        key=message.key or b"",
                        value=message.value or b"",
                        headers={name: value.decode(errors="replace") for name, value in message.headers},
                        partition=message.partition,
                        offset=message.offset,
                    )
                )
            self._positions[partition] = batch[-1].offset + 1
        return records

    def commit(self) -> None:
        """Commit; losing the partition meanwhile is no error: its next owner handles the records again."""
        if not self._grouped or not self._positions:
            return
        offsets = {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in self._positions.items()}
        with suppress(CommitFailedError, RebalanceInProgressError, IllegalStateError):
            self._consumer.commit(offsets, timeout_ms=10_000)
        self._positions.clear()

    def lag(self) -> int | None:
        assigned = list(self._consumer.assignment())
        if not assigned:
            return None
        try:
            ends: dict[TopicPartition, int] = self._consumer.end_offsets(assigned, timeout_ms=5_000)
            return sum(max(0, end - int(self._consumer.position(at, timeout_ms=5_000))) for at, end in ends.items())
        except KafkaError:
            return None

    def read_errors(self) -> dict[str, bool]:
        """Never any: kafka-python raises what it meets from `poll`."""
        return {}

    def take_gaps(self) -> list[Gap]:
        """Never any: it is not looked for without a group."""
        return []

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)


def create_topics(
    bootstrap_servers: str,
    *,
    topic_prefix: str = "",
    partitions: int = 3,
    replicas: int = 1,
    security: KafkaSecurity = PLAINTEXT,
) -> None:
    """Create the six topics that do not exist yet."""
    admin = KafkaAdminClient(
        bootstrap_servers=bootstrap_servers.split(","), client_id="heliotrope-admin", **security.for_kafka_python()
    )
    try:
        present = set(admin.list_topics())
        missing = [topic_prefix + topic for topic in TOPICS if topic_prefix + topic not in present]
        if missing:
            admin.create_topics(
                [NewTopic(name=name, num_partitions=partitions, replication_factor=replicas) for name in missing]
            )
    except TopicAlreadyExistsError:
        pass  # another process was faster
    finally:
        admin.close()
