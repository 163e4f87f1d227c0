"""Our ingest, the bare ASGI app, and a bare producer."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Producer
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from bench.ingest.contestants import Contestant
from bench.ingest.load import Target
from bench.ingest.processes import Server
from local.stack.preparation import migrate
from local.stack.stack import Stack
from shared.auth import create_key
from shared.events import FeedbackReceived

BATCH = 500
BATCH_CONNECTIONS = 8


def make_event(number: int, *, chosen_id: bool = False) -> bytes:
    event_id = f'"event_id":"{uuid4()}",' if chosen_id else ""
    return (
        f'{{"type":"thumb",{event_id}"interaction_id":"{uuid4()}","user_id":"user-{number % 5_000}","value":"up",'
        f'"metadata":{{"page":"/orders/{number}","locale":"en-GB"}}}}'
    ).encode()


def make_batch(number: int) -> bytes:
    return b'{"events":[' + b",".join([make_event(number)] * BATCH) + b"]}"


def produce_bare(bootstrap: str, records: int = 100_000) -> float:
    """Return records per second of librdkafka alone: same size, same durability, every acknowledgement awaited."""
    config = {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2}
    producer = Producer(config | {"queue.buffering.max.messages": records})
    value = make_event(1).ljust(420)
    failed = 0

    def delivered(error: object, _: object) -> None:
        nonlocal failed
        failed += error is not None

    started = time.perf_counter()
    for number in range(records):
        producer.produce(FeedbackReceived.topic, value, str(number).encode(), on_delivery=delivered)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush()
    if failed:
        raise RuntimeError(f"{failed} records were not stored")
    return records / (time.perf_counter() - started)


@contextmanager
def open_ours(
    home: Path, stack: Stack, database_url: str, port: int, bare_port: int, bootstrap: str = ""
) -> Iterator[list[Contestant]]:
    """Open our ingest and the bare app, over the stack's own broker or those that `bootstrap` names."""
    migrate(database_url)
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        key = create_key(session, "bench", "frontend")
    engine.dispose()
    bootstrap = bootstrap or stack.connections.kafka_bootstrap_servers
    environment = {
        "HELIOTROPE_DATABASE_URL": database_url,
        "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "HELIOTROPE_REDIS_URL": stack.connections.redis_url,
        "HELIOTROPE_PORT": str(port),
        "HELIOTROPE_USER_HASH_SECRET": "a secret of the benchmark",
        "HELIOTROPE_FEEDBACK_TOKEN_SECRET": "a secret of the benchmark",
        "HELIOTROPE_INGEST_KEY_EVENTS_PER_SECOND": "10000000",  # counted and shared as always, never reached
        "HELIOTROPE_INGEST_KEY_BURST_EVENTS": "10000000",
        "BENCH_BOOTSTRAP": bootstrap,
        "BENCH_TOPIC": FeedbackReceived.topic,
        "BENCH_PORT": str(bare_port),
    }
    ours = Server([sys.executable, "-m", "services.ingest"], port, environment, home / "ingest.log")
    bare = Server([sys.executable, "-m", "bench.ingest.bare_asgi"], bare_port, environment, home / "bare.log")
    try:
        ours.wait()
        bare.wait()
        headers = {"authorization": f"Bearer {key}"}
        single = Target("127.0.0.1", port, "/v1/feedback", headers, make_event)
        chosen = Target("127.0.0.1", port, "/v1/feedback", headers, lambda number: make_event(number, chosen_id=True))
        batch = Target("127.0.0.1", port, "/v1/feedback/batch", headers, make_batch)
        yield [
            Contestant("ours", single, ours),
            Contestant("bare ASGI", Target("127.0.0.1", bare_port, "/", headers, make_event), bare),
            Contestant("ours, ids of clients", chosen, ours),
            Contestant("ours, batches of 500", batch, ours, BATCH_CONNECTIONS, BATCH),
        ]
    finally:
        ours.stop()
        bare.stop()
