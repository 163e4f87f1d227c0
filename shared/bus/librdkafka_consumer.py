"""The consumer of every service that reads in a group: librdkafka, some fifty times as fast as kafka-python."""

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from shared.bus import Gap, Record
from shared.bus.read_errors import ReadErrors
from shared.bus.security import PLAINTEXT, KafkaSecurity

ASK_SECONDS = 5.0
RECHECK_SECONDS = 5.0
JOIN_SECONDS = 60.0
"""Without partitions for so long, and without a word from Kafka about why: no coordinator answers for the group."""
NOT_JOINED = f"its group has given it no partitions for {JOIN_SECONDS:.0f} s"
DELETED = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)
PASSING = frozenset(
    {
        KafkaError._NO_OFFSET,
        KafkaError._STATE,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""Of a commit: the partition has another owner by now, who handles the records again; or it is gone."""

UNREACHABLE = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL})

Place = tuple[str, int]


class LibrdkafkaBusConsumer:
    """A member of `group`. Fetches ahead in the background, at most `queued_megabytes`.

    librdkafka hands errors out among the records. `read_errors` tells them until they have passed: a group's until
    partitions are assigned, a topic's until something of that topic, or its end, was read.

    librdkafka goes on at its old place in a topic that was deleted and made anew. Here it is read from where the group
    left it: from its beginning, since Kafka forgets a group's offsets with the topic.
    """

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
        assignment: str = "range,roundrobin",
        instance_id: str | None = None,
    ) -> None:
        """`assignment` and `instance_id` are Kafka's own: `cooperative-sticky`, and the name of a static member."""
        self._max_records = max_records
        self._topics = topics
        self._positions: dict[Place, int] = {}
        self._expected: dict[Place, int] = {}
        self._gaps: list[Gap] = []
        self._errors = ReadErrors()
        self._recheck_at = 0.0
        self._deleted: set[str] = set()
        self._waits_since: float | None = time.monotonic()
        self._consumer = Consumer(
            {
                **security.for_librdkafka(),
                "bootstrap.servers": bootstrap_servers,
                "client.id": client_id,
                "group.id": group,
                "partition.assignment.strategy": assignment,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": int(session_timeout_seconds * 1000),
                "heartbeat.interval.ms": int(session_timeout_seconds * 1000 / 6),
                "queued.max.messages.kbytes": queued_megabytes * 1024,
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 1_000,
                "topic.metadata.refresh.interval.ms": 5_000,
                "log_level": 3,
                "error_cb": self._hear,
                **({"group.instance.id": instance_id} if instance_id else {}),
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._consumer.subscribe(topics, on_assign=self._begin, on_lost=self._forget, on_revoke=self._forget)

    def _hear(self, error: KafkaError) -> None:
        """Of the way to the brokers. One connection that ends is none of our business: there are others."""
        if error.code() in UNREACHABLE or error.fatal():
            self._errors.note("", error.code(), error.str())

    def _begin(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Where each partition starts; what retention has taken before that is a gap."""
        self._waits_since = None
        self._errors.pass_for_group()
        with suppress(KafkaException):
            committed = consumer.committed(partitions, ASK_SECONDS)
            for at in committed:
                if at.offset >= 0:
                    self._expected[at.topic, at.partition] = at.offset
                    self._look_for_gap((at.topic, at.partition))
            self._commit_first(committed)

    def _commit_first(self, committed: list[TopicPartition]) -> None:
        """Commit where the group begins, where it has no offset yet: what is lost before the first record is read from
        a partition is known then.
        """
        new = [at for at in committed if at.offset < 0]
        for at in new:
            at.offset, _ = self._consumer.get_watermark_offsets(at, timeout=ASK_SECONDS)
            self._expected[at.topic, at.partition] = at.offset
        if new:
            self._consumer.commit(offsets=new, asynchronous=False)

    def _look_for_gap(self, place: Place) -> None:
        """Compare what comes next with the oldest record that there is."""
        expected = self._expected[place]
        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=ASK_SECONDS)
        except KafkaException:
            return  # the next record that is read tells it as well
        if low > expected:
            self._gaps.append(Gap(*place, expected, low))
            self._expected[place] = self._positions[place] = low

    def _forget(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._waits_since = time.monotonic()
        for partition in partitions:
            self._positions.pop((partition.topic, partition.partition), None)
            self._expected.pop((partition.topic, partition.partition), None)

    def poll(self, timeout_seconds: float) -> list[Record]:
        """Return the first records there are, without waiting for `max_records` of them."""
        self._recheck()
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return []
        return list(self._sort([first, *self._consumer.consume(self._max_records - 1, 0)]))

    def _sort(self, messages: Iterable[Message]) -> Iterable[Record]:
        """The records; errors are noted, and what was heard of a topic ends its problems."""
        for message in messages:
            error, topic = message.error(), message.topic() or ""
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._note(topic, error.code(), error.str())
            elif topic not in self._deleted:
                self._errors.pass_for(topic)
                if error is None:
                    yield self._read(message)

    def _note(self, topic: str, code: int, words: str) -> None:
        self._errors.note(topic, code, words)
        if code in DELETED:
            self._deleted.add(topic)

    def _read(self, message: Message) -> Record:
        record = read_message(message)
        place = record.topic, record.partition
        if record.offset > self._expected.get(place, record.offset):
            self._look_for_gap(place)
        self._positions[place] = self._expected[place] = record.offset + 1
        return record

    def _recheck(self) -> None:
        """Have what had a problem read again, now and then: librdkafka tells an error once, and its end not at all."""
        if not self._errors or time.monotonic() < self._recheck_at:
            return
        for topic in self._errors.list_topics() or self._topics[:1]:
            try:
                self._recheck_topic(topic)
            except KafkaException:
                continue
        self._recheck_at = time.monotonic() + RECHECK_SECONDS

    def _recheck_topic(self, topic: str) -> None:
        """Raises: KafkaException: it cannot be asked now."""
        error = self._consumer.list_topics(topic, RECHECK_SECONDS).topics[topic].error
        self._errors.pass_for_brokers()
        if error is not None:
            return
        assigned = [at for at in self._consumer.assignment() if at.topic == topic]
        if not assigned:
            self._resume(topic)
            return
        committed, is_anew = self._consumer.committed(assigned, ASK_SECONDS), topic in self._deleted
        if is_anew:
            self._commit_first(committed)
        left = {at.partition: at.offset for at in committed}
        for at in self._consumer.position(assigned):
            reached = at.offset if at.offset >= 0 and not is_anew else left[at.partition]
            self._consumer.seek(TopicPartition(topic, at.partition, reached if reached >= 0 else OFFSET_BEGINNING))
        if is_anew:
            self._resume(topic)

    def _resume(self, topic: str) -> None:
        """The topic is there; what was known of an earlier one of its name is not of this one."""
        self._errors.pass_for(topic)
        if topic in self._deleted:
            self._deleted.remove(topic)
            for places in (self._positions, self._expected):
                for place in [place for place in places if place[0] == topic]:
                    del places[place]

    def read_errors(self) -> dict[str, bool]:
        now = time.monotonic()
        if self._errors and self._waits_since is not None:
            self._waits_since = now  # for what stands already
        if self._waits_since is not None and now > self._waits_since + JOIN_SECONDS:
            return {NOT_JOINED: True}
        return self._errors.describe()

    def take_gaps(self) -> list[Gap]:
        gaps, self._gaps = self._gaps, []
        return gaps

    def commit(self) -> None:
        """Commit; losing the partition meanwhile is no error: its next owner handles the records again."""
        if not self._positions:
            return
        offsets = [TopicPartition(topic, partition, at) for (topic, partition), at in self._positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
                raise
        self._positions.clear()

    def lag(self) -> int | None:
        """None also while something cannot be read: what waits there is not known."""
        if self._waits_since is not None or self._errors:
            return None
        waiting = 0
        try:
            assigned = self._consumer.assignment()
            committed = {(at.topic, at.partition): at.offset for at in self._consumer.committed(assigned, ASK_SECONDS)}
            for at in self._consumer.position(assigned):
                low, end = self._consumer.get_watermark_offsets(at, timeout=ASK_SECONDS)
                reached = at.offset if at.offset >= 0 else committed[at.topic, at.partition]
                waiting += max(0, end - max(low, reached))
        except KafkaException:
            return None
        if anew := {topic for (topic, _), offset in committed.items() if offset < 0}:
            self._notice_new(anew)
            return None
        return waiting

    def _notice_new(self, topics: Iterable[str]) -> None:
        """A group has an offset for every partition from the first assignment on: without one, the topic is another."""
        for topic in topics:
            self._note(topic, KafkaError.UNKNOWN_TOPIC_OR_PART, "the topic was deleted and made anew")

    def close(self) -> None:
        self._consumer.close()


def read_message(message: Message) -> Record:
    """Return the record of a message that is no error."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    headers = cast("list[tuple[str, str | bytes | None]]", message.headers() or [])
    return Record(
        topic=topic,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers={name: _bytes(value).decode(errors="replace") for name, value in headers},
        partition=partition,
        offset=offset,
    )


def _bytes(content: str | bytes | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""
