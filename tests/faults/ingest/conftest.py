"""Ingest under load, on a broker that a test may stop and kill."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from local.servers.programs import find_valkey
from shared.auth import create_key
from tests.faults.ingest.edge import Broker, Senders, Worker, find_ports, until


class Edge:
    """Starts what a test asks for, and ends it all with the test."""

    def __init__(self, database_url: str, closing: ExitStack) -> None:
        self._closing = closing
        self._database_url = database_url
        engine = create_engine(database_url)
        with Session(engine) as session, session.begin():
            self.key = create_key(session, "front end", "frontend")
        engine.dispose()
        broker_port, self._redis_port, *self._ports = find_ports(8)
        self.broker = Broker(broker_port)
        closing.callback(self.broker.kill)
        closing.callback(self.broker.go_on)
        self.redis = self._start_redis()

    def _start_redis(self) -> subprocess.Popen[bytes]:
        command = (find_valkey(), "--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", "")
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._closing.callback(redis.wait)
        self._closing.callback(redis.kill)
        return redis

    def start_workers(self, count: int, **settings: str) -> list[Worker]:
        environment = {
            "HELIOTROPE_DATABASE_URL": self._database_url,
            "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": self.broker.address,
            "HELIOTROPE_REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "HELIOTROPE_INGEST_ACK_DEADLINE_SECONDS": "4",
        } | {f"HELIOTROPE_INGEST_{name.upper()}": value for name, value in settings.items()}
        workers = [Worker(self._ports.pop(), environment) for _ in range(count)]
        for worker in workers:
            self._closing.callback(worker.close)
        for worker in workers:
            until(worker.is_ready)
        return workers

    def send(self, workers: list[Worker], threads: int) -> Senders:
        senders = Senders(workers, self.key, threads)
        self._closing.callback(senders.stop)
        return senders


@pytest.fixture
def edge(database_url: str) -> Iterator[Edge]:
    with ExitStack() as closing:
        yield Edge(database_url, closing)
