"""Curators in processes of their own, what they have stored, and writers who send until they are acknowledged."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import IO

import psycopg
from sqlalchemy import make_url

from local.servers.kafka_cluster import KafkaCluster
from shared.bus import Record, encode
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.errors import Unavailable
from shared.events import Event

BATCH, SESSION_SECONDS = "40", "6"
COUNT = "SELECT (SELECT count(*) FROM curator.interactions) + (SELECT count(*) FROM curator.feedback)"


def count_events(url: str) -> int:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, connect_timeout=5) as connection:
        row = connection.execute(COUNT).fetchone()
    return int(row[0]) if row else 0


class Crew:
    """The curator's consumer, several times in one group."""

    def __init__(
        self, database_url: str, cluster: KafkaCluster, prefix: str, folder: Path, members: int, *options: str
    ) -> None:
        """`options` are the assignment's strategy and, with `static`, a name for each member."""
        self._command = [sys.executable, "-m", "bench.curator.worker", database_url, cluster.bootstrap_servers, prefix]
        self._command += [BATCH, SESSION_SECONDS, *options[:1]]
        self._static = "static" in options
        self._folder = folder
        self._number = count()
        self._log: IO[bytes] = (folder / "crew.log").open("ab")
        self._members: list[subprocess.Popen[bytes]] = []
        for place in range(members):
            self._members.append(self._start(place))

    def _start(self, place: int) -> subprocess.Popen[bytes]:
        name = [f"curator-{place}"] if self._static else []
        return subprocess.Popen([*self._command, *name], stdout=subprocess.DEVNULL, stderr=self._log)

    def replace(self, place: int) -> None:
        """SIGKILL one member and start another in its place."""
        self._members[place].kill()
        self._members[place].wait()
        self._members[place] = self._start(place)

    def close(self) -> None:
        for member in self._members:
            member.kill()
            member.wait()
        self._log.close()


class Writers:
    """Threads that send their share of the events one after another, each again until it is acknowledged."""

    def __init__(
        self, cluster: KafkaCluster, prefix: str, events: Sequence[Event], *, threads: int, pause: float
    ) -> None:
        self._producer = LibrdkafkaBusProducer(
            cluster.bootstrap_servers, client_id="writers", security=cluster.security(), deadline_seconds=8
        )
        self._records = [encode(event, source="test", topic_prefix=prefix) for event in events]
        self._pause = pause
        self._lock = threading.Lock()
        self.stored = self.refusals = 0
        self._threads = [
            threading.Thread(target=self._send_all, args=(self._records[place::threads],)) for place in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _send_all(self, records: Sequence[Record]) -> None:
        for record in records:
            while not self._is_stored(record):
                time.sleep(0.2)
            time.sleep(self._pause)

    def _is_stored(self, record: Record) -> bool:
        try:
            self._producer.send(record).result(20)
        except (Unavailable, TimeoutError):
            with self._lock:
                self.refusals += 1
            return False
        with self._lock:
            self.stored += 1
        return True

    def are_done(self) -> bool:
        return self.stored == len(self._records)

    def close(self) -> None:
        for thread in self._threads:
            thread.join()
        self._producer.close(5)


def wait_until_stored(url: str, events: int, seconds: float) -> float:
    """How long it took until so many events were in the tables."""
    started = time.monotonic()
    while (stored := count_events(url)) < events:
        assert time.monotonic() - started < seconds, f"{stored} of {events} stored"
        time.sleep(0.1)
    return time.monotonic() - started
