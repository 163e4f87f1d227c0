"""One consumer of the curator in a process of its own, as the benchmark and the fault runs start it.

`python -m bench.curator.worker DATABASE_URL BOOTSTRAP TOPIC_PREFIX [BATCH [SESSION_SECONDS]]` consumes until SIGTERM
and writes a line of JSON for each committed batch: records so far, monotonic time, CPU seconds and peak memory (MiB) of
this process.
"""

import json
import resource
import signal
import sys
import threading
import time

from sqlalchemy import create_engine

from services.curator.app.consumer import CONSUMED, CuratorConsumer
from shared.bus import Consumer, Gap, Record
from shared.bus.kafka import KafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.consumer import ConsumerLoop
from shared.db import make_session_factory
from shared.dead_letters import DeadLetters


class Reporting:
    """A consumer that says what was committed."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._polled = 0
        self._first: float | None = None

    def poll(self, timeout_seconds: float) -> list[Record]:
        records = self._consumer.poll(timeout_seconds)
        if records and self._first is None:
            self._first = time.monotonic()
            self._cpu = time.process_time()
        self._polled += len(records)
        return records

    def commit(self) -> None:
        self._consumer.commit()
        line = {
            "records": self._polled,
            "first": self._first,
            "at": time.monotonic(),
            "cpu": time.process_time() - self._cpu,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def lag(self) -> int | None:
        return 0

    def read_errors(self) -> dict[str, bool]:
        return self._consumer.read_errors()

    def take_gaps(self) -> list[Gap]:
        return self._consumer.take_gaps()

    def close(self) -> None:
        self._consumer.close()


def main(
    database_url: str,
    bootstrap: str,
    prefix: str,
    batch: str = "1000",
    session_seconds: str = "6",
    assignment: str = "range,roundrobin",
    instance_id: str = "",
) -> None:
    engine = create_engine(database_url)
    consumer = LibrdkafkaBusConsumer(
        bootstrap,
        [prefix + event.topic for event in CONSUMED],
        f"{prefix}heliotrope-curator",
        client_id="bench",
        session_timeout_seconds=float(session_seconds),
        max_records=int(batch),
        assignment=assignment,
        instance_id=instance_id or None,
    )
    letters = DeadLetters(KafkaBusProducer(bootstrap, client_id="bench-letters"), "curator")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    loop = ConsumerLoop(
        "curator", Reporting(consumer), CuratorConsumer(), make_session_factory(engine), letters, savepoints=False
    )
    loop.run(stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
