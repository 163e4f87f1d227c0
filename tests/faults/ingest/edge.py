"""Ingest processes on a broker of their own, clients that keep sending, and a reader that says what the topic holds."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import httpx

from local.servers.broker import serve_command
from local.supervision.readiness import answers_http, is_port_free
from shared.bus import decode
from shared.bus.kafka import KafkaBusConsumer, create_topics
from shared.events import FeedbackReceived
from shared.ids import new_id

SECRETS = {
    "HELIOTROPE_USER_HASH_SECRET": "a hash secret of tests",
    "HELIOTROPE_FEEDBACK_TOKEN_SECRET": "a token secret of tests",
}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def find_ports(count: int) -> list[int]:
    ports = [port for port in random.sample(range(32_000, 32_700), 300) if is_port_free(port)]
    return ports[:count]


class Broker:
    """It keeps its records in memory: a restart loses them, a stop loses none."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            serve_command(self.address), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: not is_port_free(self._port))
        create_topics(self.address)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Worker:
    """One ingest process; `restart` puts another in its place."""

    def __init__(self, port: int, environment: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._environment = os.environ | SECRETS | environment | {"HELIOTROPE_PORT": str(port)}
        self.log = Path(tempfile.mkstemp(prefix="ingest-", suffix=".log")[1])
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest"], env=self._environment, stdout=output, stderr=output
            )

    def is_ready(self) -> bool:
        with suppress(OSError):
            answers_http(f"{self.url}/readyz")()
            return True
        return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """Returns once it has drained and ended."""
        self._process.terminate()
        self._process.wait(60)

    def metric(self, name: str) -> float:
        lines = httpx.get(f"{self.url}/metrics", timeout=10).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self.log.unlink()


class Senders:
    """Threads that send events under ids of their own until told to stop; what was not answered 202 is sent again."""

    def __init__(self, workers: list[Worker], key: str, threads: int) -> None:
        self.acknowledged: set[UUID] = set()
        self.answers: Counter[int] = Counter()
        self._workers = workers
        self._headers = {"authorization": f"Bearer {key}"}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(number,), daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def _send(self, number: int) -> None:
        """Even threads send one event at a time, odd ones twenty."""
        with httpx.Client(headers=self._headers, timeout=10) as client:
            waiting: list[UUID] = []
            turn = number
            while not self._stop.is_set():
                waiting = waiting or [new_id() for _ in range(1 if number % 2 == 0 else 20)]
                turn += 1
                try:
                    accepted = self._post(client, self._workers[turn % len(self._workers)].url, waiting)
                except httpx.HTTPError:
                    accepted = set()
                    time.sleep(0.02)
                with self._lock:
                    self.acknowledged |= accepted
                waiting = [event_id for event_id in waiting if event_id not in accepted]

    def _post(self, client: httpx.Client, url: str, ids: list[UUID]) -> set[UUID]:
        events = [make_thumb(event_id) for event_id in ids]
        if len(events) == 1:
            status = client.post(f"{url}/v1/feedback", json=events[0]).status_code
            self._count(status, 1)
            return set(ids) if status == 202 else set()
        answer = client.post(f"{url}/v1/feedback/batch", json={"events": events})
        if answer.status_code != 200:
            self._count(answer.status_code, len(ids))
            return set()
        outcomes = answer.json()["outcomes"]
        accepted = {UUID(outcome["event_id"]) for outcome in outcomes if outcome["outcome"] == "accepted"}
        self._count(202, len(accepted))
        for outcome in outcomes:
            if outcome["outcome"] != "accepted":
                self._count(outcome["problem"]["status"], 1)
        return accepted

    def _count(self, status: int, count: int) -> None:
        with self._lock:
            self.answers[status] += count

    def go_on_until(self, more: int, seconds: float = 60) -> None:
        """Until so many more events were acknowledged."""
        target = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= target, seconds)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def make_thumb(event_id: UUID) -> dict[str, str]:
    return {"type": "thumb", "event_id": str(event_id), "interaction_id": str(event_id), "value": "up"}


def read_topic(address: str, seconds: float = 60) -> Counter[UUID]:
    """How often each event id is on the topic, once nothing more comes."""
    consumer = KafkaBusConsumer(address, [FeedbackReceived.topic], None, client_id="test")
    found: Counter[UUID] = Counter()
    quiet = 0
    deadline = time.monotonic() + seconds
    try:
        while quiet < 3 and time.monotonic() < deadline:
            records = consumer.poll(0.5)
            quiet = 0 if records else quiet + (consumer.lag() == 0)
            for event in map(decode, records):
                assert isinstance(event, FeedbackReceived)
                found[event.event_id] += 1
    finally:
        consumer.close()
    return found
