"""`make bench-bus`: what the bus port costs on top of the bare kafka-python client, on the local broker.

Both produce the same records, idempotent and with acks=all, and wait for every acknowledgement; both read them again.
The runs alternate, so that a noisy machine disturbs both alike; the goals are ratios of medians.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from kafka import KafkaConsumer, KafkaProducer

from local.results import Goal, Row, write_result
from local.stack.stack import Stack
from shared.bus import Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer

RECORDS = 5_000
VALUE = b"x" * 600
RUNS = 5
PORT_BASE = 28_000
GOAL = 0.8


def send_bare(bootstrap: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=2)
    pending = [producer.send(topic, key=str(number).encode(), value=VALUE) for number in range(RECORDS)]
    for sent in pending:
        sent.get(timeout=30)
    producer.close()


def send_ours(bootstrap: str, topic: str) -> None:
    producer = KafkaBusProducer(bootstrap, client_id="bench", deadline_seconds=60)
    pending = [producer.send(Record(topic, str(number).encode(), VALUE)) for number in range(RECORDS)]
    for stored in pending:
        stored.result(30)
    producer.close(10)


def read_bare(bootstrap: str, topic: str) -> None:
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    count = 0
    while count < RECORDS:
        count += sum(len(batch) for batch in consumer.poll(timeout_ms=500, max_records=500).values())
    consumer.close()


def read_ours(bootstrap: str, topic: str) -> None:
    consumer = KafkaBusConsumer(bootstrap, [topic], None, client_id="bench")
    count = 0
    while count < RECORDS:
        count += len(consumer.poll(0.5))
    consumer.close()


def measure_rate(action: Callable[[str, str], None], bootstrap: str, topic: str) -> float:
    """Measure records per second, connecting included."""
    started = time.perf_counter()
    action(bootstrap, topic)
    return RECORDS / (time.perf_counter() - started)


def main() -> None:
    rates: dict[str, list[float]] = {"bare send": [], "our send": [], "bare read": [], "our read": []}
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as home:
        stack = Stack(Path(home), PORT_BASE, only=("broker",), throwaway=True)
        stack.up()
        try:
            bootstrap = stack.connections.kafka_bootstrap_servers
            for _ in range(RUNS):
                topic = f"bench-{uuid4().hex}"
                rates["bare send"].append(measure_rate(send_bare, bootstrap, topic))
                rates["bare read"].append(measure_rate(read_bare, bootstrap, topic))
                topic = f"bench-{uuid4().hex}"
                rates["our send"].append(measure_rate(send_ours, bootstrap, topic))
                rates["our read"].append(measure_rate(read_ours, bootstrap, topic))
        finally:
            stack.down()
    rows = {name: Row.of(name, "records/s", values) for name, values in rates.items()}
    goals = [
        Goal(
            f"{what}: ours over the bare client",
            rows[f"our {what}"].median / rows[f"bare {what}"].median,
            GOAL,
            "at_least",
        )
        for what in ("send", "read")
    ]
    write_result("bus", list(rows.values()), goals, {"records": RECORDS, "value_bytes": len(VALUE)})


if __name__ == "__main__":
    main()
