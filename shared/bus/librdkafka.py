"""A second producer over Kafka's protocol: librdkafka, some twenty times as fast as kafka-python, for the hot path."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from shared.bus import Record, Settle
from shared.bus.failures import RECORD, describe_failure
from shared.bus.security import PLAINTEXT, KafkaSecurity
from shared.errors import RecordRefused, Unavailable

POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0
FUTILE_EPOCHS = 3
MAX_RECORD_BYTES = 16 * 2**20
"""What the client sends: beyond any limit of ours, so that the topic's own limit decides."""
MISSING_SECONDS = 4.0
"""A topic unknown for so long is missing; before that it may just have been made."""


class LibrdkafkaBusProducer:
    """Idempotent, acks=all, the same partition for a key as kafka-python (murmur2).

    A client that will never send again (its broker came back without its memory) is replaced by a new one; what the old
    one still held has failed, and its senders send it again.

    A broker refuses a whole batch for one record that it does not take, or because together they are larger than the
    topic's limit. What was refused is sent again by a second client, each record in a batch of its own: what is refused
    then is refused for itself. Neighbours of a refused record may be overtaken by later ones of their key.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        client_id: str,
        deadline_seconds: float = 10.0,
        linger_seconds: float = 0.002,
        max_queued_bytes: int = 128 * 2**20,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._config = {
            **security.for_librdkafka(),
            "bootstrap.servers": bootstrap_servers,
            "client.id": client_id,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": linger_seconds * 1000,
            "delivery.timeout.ms": int(deadline_seconds * 1000),
            "request.timeout.ms": int(deadline_seconds * 500),
            "socket.timeout.ms": max(1_000, int(deadline_seconds * 500)),
            "reconnect.backoff.max.ms": 1_000,
            "message.max.bytes": MAX_RECORD_BYTES,
            "topic.metadata.refresh.interval.ms": 10_000,
            "topic.metadata.propagation.max.ms": int(min(MISSING_SECONDS, deadline_seconds / 2) * 1000),
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": max_queued_bytes // 1024,
            "log_level": 3,
        }
        self._replacing = threading.Lock()
        self._client = _Client(self._config, self._send_alone)
        self._single: _Client | None = None

    def send(self, record: Record) -> "Future[None]":
        stored: Future[None] = Future()

        def settle(_: int, failure: BaseException | None) -> None:
            if failure is None:
                stored.set_result(None)
            else:
                stored.set_exception(failure)

        try:
            self._working_client().produce(record, 0, settle)
        except RecordRefused as refusal:
            stored.set_exception(refusal)
        return stored

    def deliver(self, records: Sequence[Record], settle: Settle) -> None:
        for index, record in enumerate(records):
            try:
                self._working_client().produce(record, index, settle)
            except Exception as error:
                settle(index, error)

    def _working_client(self) -> "_Client":
        if not self._client.failed:
            return self._client
        with self._replacing:
            if self._client.failed:
                self._client.abandon()
                self._client = _Client(self._config, self._send_alone)
        return self._client

    def _send_alone(self, record: Record, index: int, settle: Settle) -> None:
        """Runs in a client's thread; never raises."""
        try:
            self._working_single().produce(record, index, settle)
        except Exception as error:
            settle(index, error)

    def _working_single(self) -> "_Client":
        with self._replacing:
            if self._single is not None and self._single.failed:
                self._single.abandon()
                self._single = None
            self._single = self._single or _Client(self._config | {"batch.num.messages": 1, "linger.ms": 0})
            return self._single

    def close(self, timeout_seconds: float) -> None:
        self._client.close(timeout_seconds)
        if self._single is not None:
            self._single.close(timeout_seconds)


class _Idempotence(msgspec.Struct):
    producer_epoch: int = 0


class _Statistics(msgspec.Struct):
    """The part of librdkafka's statistics (STATISTICS.md) that tells a futile client."""

    eos: _Idempotence = msgspec.field(default_factory=_Idempotence)


_decode_statistics = msgspec.json.Decoder(_Statistics).decode


Resend = Callable[[Record, int, Settle], None]


class _Client:
    """One librdkafka producer and the thread that hears its acknowledgements."""

    def __init__(self, config: dict[str, Any], send_alone: Resend | None = None) -> None:
        """`send_alone` is told of each record that was refused in a batch; without it, a refusal is final."""
        self._send_alone = send_alone
        self.failed = False
        self._fatal: KafkaError | None = None
        self._stopped = False
        self._epoch_seen = 0
        self._stored = 0
        self._stored_seen = 0
        callbacks = {"error_cb": self._hear, "stats_cb": self._look, "statistics.interval.ms": LOOK_SECONDS * 1000}
        self._producer = Producer(config | callbacks, logger=logging.getLogger("librdkafka"))
        self._thread = threading.Thread(target=self._poll, name="librdkafka-poll", daemon=True)
        self._thread.start()

    def produce(self, record: Record, index: int, settle: Settle) -> None:
        """Raises: RecordRefused. Unavailable: the local queue is full, or this client has failed for good."""

        def delivered(error: KafkaError | None, _: Any) -> None:
            if error is None:
                self._stored += 1
                settle(index, None)
            elif self._send_alone is not None and error.code() in RECORD:
                self._send_alone(record, index, settle)
            else:
                settle(index, self._describe(error, record.topic))

        headers: list[Any] = list(record.headers.items())
        try:
            self._producer.produce(record.topic, record.value, record.key, on_delivery=delivered, headers=headers)
        except RuntimeError as error:
            raise Unavailable("the producer has been closed") from error
        except BufferError as error:
            raise Unavailable("the producer's buffer is full") from error
        except KafkaException as error:
            self._hear(error.args[0])
            raise self._describe(error.args[0], record.topic) from error
        except (TypeError, ValueError, AssertionError) as error:
            raise RecordRefused(f"{record.topic}: the client takes no such record: {error}") from error

    def _hear(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self.failed = True
        if error.fatal() and error.code() != KafkaError._FATAL:
            self._fatal = error

    def _describe(self, error: KafkaError, topic: str) -> Exception:
        """Whatever is held or sent after a fatal error is told that there was one: what it was says more."""
        cause = self._fatal if error.code() == KafkaError._FATAL and self._fatal is not None else error
        return describe_failure(cause.code(), topic, str(cause))

    def _look(self, statistics: str) -> None:
        """Told by a broker that it is not known, librdkafka tries a new epoch ten times a second, for ever."""
        epoch = _decode_statistics(statistics).eos.producer_epoch
        if epoch - self._epoch_seen >= FUTILE_EPOCHS and self._stored == self._stored_seen:
            self.failed = True
        self._epoch_seen, self._stored_seen = epoch, self._stored

    def _poll(self) -> None:
        while not self._stopped or len(self._producer):
            try:
                self._producer.poll(POLL_SECONDS)
            except KafkaException as error:  # a fatal one, such as no right to write anywhere; what it holds has failed
                self._hear(error.args[0])
        self._producer.close()

    def abandon(self) -> None:
        """Fail what it holds. Its thread hears of that, and ends."""
        self._producer.purge()
        self._stopped = True

    def close(self, timeout_seconds: float) -> None:
        """Wait for what is queued, at most this long; then fail the rest."""
        self._producer.flush(timeout_seconds)
        self.abandon()
        self._thread.join(timeout=2 * POLL_SECONDS + 1)
