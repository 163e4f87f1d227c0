"""What cannot be decoded or handled goes aside, with its reason and its original bytes, and can be replayed."""

from collections.abc import Iterator
from datetime import UTC, datetime

from shared.bus import Consumer, Gap, Producer, Record
from shared.bus.limits import open_admin
from shared.bus.security import PLAINTEXT, KafkaSecurity

ACK_DEADLINE_SECONDS = 15.0
REASON_LIMIT = 500


def dead_letter_topic(topic: str, consumer: str) -> str:
    return f"{topic}.{consumer}.dlq"


class DeadLetters:
    """The dead-letter topics of one consumer."""

    def __init__(self, producer: Producer, consumer: str) -> None:
        self._producer = producer
        self._consumer = consumer

    def put(self, record: Record, reason: str) -> None:
        """Store the record aside; returns only when the broker has it, so the offset may move on.

        Raises:
            Exception: the broker did not take it; the caller must not commit.
        """
        headers = dict(record.headers) | {
            "dlq_reason": reason[:REASON_LIMIT],
            "dlq_topic": record.topic,
            "dlq_partition": str(record.partition),
            "dlq_offset": str(record.offset),
            "dlq_at": datetime.now(UTC).isoformat(),
        }
        letter = Record(dead_letter_topic(record.topic, self._consumer), record.key, record.value, headers)
        self._producer.send(letter).result(timeout=ACK_DEADLINE_SECONDS)

    def put_gap(self, gap: Gap) -> None:
        """Leave a note of what retention took unread, beside what was put aside; returns when the broker has it.

        Raises:
            Exception: the broker did not take it.
        """
        count = gap.end - gap.start
        headers = {
            "dlq_reason": f"retention took {count} records unread: offsets {gap.start} to {gap.end - 1}",
            "dlq_lost": str(count),
            "dlq_topic": gap.topic,
            "dlq_partition": str(gap.partition),
            "dlq_offset": str(gap.start),
            "dlq_at": datetime.now(UTC).isoformat(),
        }
        note = Record(dead_letter_topic(gap.topic, self._consumer), b"", b"", headers)
        self._producer.send(note).result(timeout=ACK_DEADLINE_SECONDS)


def list_dead_letter_topics(
    bootstrap_servers: str, topic_prefix: str = "", security: KafkaSecurity = PLAINTEXT
) -> list[str]:
    """Return every dead-letter topic there is. Raises: KafkaException: no broker lets us in; says why."""
    topics = open_admin(bootstrap_servers, security).reach(ACK_DEADLINE_SECONDS).topics
    return sorted(topic for topic in topics if topic.startswith(topic_prefix) and topic.endswith(".dlq"))


def is_loss(letter: Record) -> bool:
    """Return whether it stands for records that retention took before they were read: there is nothing to hand back."""
    return "dlq_lost" in letter.headers


def restore(letter: Record) -> Record:
    """Return the record as it was before it was put aside."""
    headers = {name: value for name, value in letter.headers.items() if not name.startswith("dlq_")}
    return Record(letter.headers["dlq_topic"], letter.key, letter.value, headers)


def read_all(consumer: Consumer, *, quiet_seconds: float = 2.0) -> Iterator[Record]:
    """Yield every record until none has come for `quiet_seconds`; commits nothing."""
    while records := consumer.poll(quiet_seconds):
        yield from records
