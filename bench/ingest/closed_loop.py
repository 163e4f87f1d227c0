"""A bare librdkafka producer as a load of its own: so many records on their way at once, each followed by the next."""

import time
from functools import partial

from confluent_kafka import KafkaError, Producer

from bench.ingest.load import Load

POLL_SECONDS = 0.1
STORED, FAILED = 202, 503


class BareProducer:
    """Keeps its connections from run to run, as a server does; the settings are those of our ingest."""

    def __init__(self, bootstrap: str, topic: str, value: bytes) -> None:
        config = {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2}
        self._producer = Producer(config | {"partitioner": "murmur2_random"})
        self._topic = topic
        self._value = value

    def run(self, on_their_way: int, seconds: float) -> Load:
        """Return each record's time from `produce` to its acknowledgement."""
        load, started = Load(), time.perf_counter()
        for _ in range(on_their_way):
            self._send(load, started + seconds)
        while len(self._producer):
            self._producer.poll(POLL_SECONDS)
        load.seconds = time.perf_counter() - started
        return load

    def _send(self, load: Load, stop_at: float) -> None:
        sent_at = time.perf_counter()
        heard = partial(self._hear, load, sent_at, stop_at)
        self._producer.produce(self._topic, self._value, str(sent_at).encode(), on_delivery=heard)

    def _hear(self, load: Load, sent_at: float, stop_at: float, error: KafkaError | None, _: object) -> None:
        now = time.perf_counter()
        load.latencies.append(now - sent_at)
        load.statuses[FAILED if error else STORED] += 1
        if now < stop_at:
            self._send(load, stop_at)
