"""An upgrade from release 0.1.0 under traffic: its services on today's schema, today's services on its events.

Ingest and curator of both releases run as processes on one database and one broker, while a front end sends. No event
that was answered 202 may be missing in the end, or there twice, and no answer may be a server's error.
"""

import io
import os
import re
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from shared.auth import create_key
from shared.bus.kafka import create_topics
from shared.ids import new_id

pytestmark = [pytest.mark.ops, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
RELEASE, RELEASED_SCHEMA = "b6aa979", "0055"
"""Release 0.1.0; its tag may be missing in a clone."""
PIN = re.compile(r"^([\w.-]+)==([\w.!]+)", re.MULTILINE)
START_SECONDS = 240.0
PHASE_SECONDS = 8.0
SETTLE_SECONDS = 120.0
CALLERS = 3


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(look: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


class Service:
    """A service of one release, as a process."""

    def __init__(self, code: Path, name: str, environment: dict[str, str], logs: Path) -> None:
        self.port = find_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {"PYTHONPATH": f"{code}:{code / 'packages'}", "HELIOTROPE_PORT": str(self.port)}
        self.log = logs / f"{code.name}-{name}-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                cwd=code,
                env={**os.environ, **environment, **own},
                stdout=log,
                stderr=log,
            )

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class FrontEnd:
    """Sends answers and edits of them, each until it is accepted by whichever ingest is there."""

    def __init__(self, key: str) -> None:
        self.urls: list[str] = []
        self.answers, self.events = set[UUID](), set[UUID]()
        self.statuses: Counter[int] = Counter()
        self._key, self._over = key, threading.Event()
        self._threads = [threading.Thread(target=self._talk, args=(number,)) for number in range(CALLERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _talk(self, number: int) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {self._key}"}, timeout=30) as client:
            while not self._over.is_set():
                self._serve(client, number)
                time.sleep(0.05)

    def _serve(self, client: httpx.Client, number: int) -> None:
        answer, event = new_id(), new_id()
        served = {
            "interaction_id": str(answer),
            "user_id": f"customer-{number}",
            "messages": [{"role": "user", "content": f"Where is parcel {answer}?"}],
            "answer": "It was sent this morning.",
            "model_version": "1",
            "served_at": datetime.now(UTC).isoformat(),
        }
        edit = {"event_id": str(event), "type": "edit", "interaction_id": str(answer), "user_id": f"customer-{number}"}
        self._send(client, "/v1/interactions", served)
        self.answers.add(answer)
        self._send(client, "/v1/feedback", edit | {"text": f"Parcel {answer} left our house this morning by courier."})
        self.events.add(event)

    def _send(self, client: httpx.Client, path: str, body: dict[str, Any]) -> None:
        while True:
            for url in list(self.urls):
                with suppress(httpx.TransportError):  # the one that was just stopped
                    status = client.post(f"{url}{path}", json=body).status_code
                    self.statuses[status] += 1
                    if status == 202:
                        return
            time.sleep(0.1)


def install_former_packages(code: Path) -> None:
    """Beside the old code, what its lock names and today's does not: it runs in this environment otherwise."""
    old, new = (dict(PIN.findall((folder / "requirements.lock").read_text().lower())) for folder in (code, ROOT))
    today = {name.replace("_", "-") for name in (*new, "torch")}
    former = [f"{name}=={version}" for name, version in old.items() if name.replace("_", "-") not in today]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(code / "packages")]
    subprocess.run([*pip, *former], check=True, timeout=300)


class Upgrade:
    def __init__(self, closing: ExitStack, database_url: str, kafka: str, prefix: str, folder: Path) -> None:
        self._closing, self._folder = closing, folder
        self._environment = {
            "HELIOTROPE_DATABASE_URL": database_url,
            "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "HELIOTROPE_TOPIC_PREFIX": prefix,
            "HELIOTROPE_USER_HASH_SECRET": "a user hash secret of tests",
            "HELIOTROPE_FEEDBACK_TOKEN_SECRET": "a token secret of tests",
            "HELIOTROPE_HOME": str(folder / "home"),
        }
        self._dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.old = folder / "released"
        archive = subprocess.run(["git", "archive", RELEASE], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(self.old, filter="data")
        install_former_packages(self.old)

    def start(self, code: Path, *names: str) -> list[Service]:
        services = [Service(code, name, self._environment, self._folder) for name in names]
        for service in services:
            self._closing.callback(service.end)
        for service in services:
            until(service.is_ready, str(service.log), START_SECONDS)
        return services

    def count_missing(self, front_end: FrontEnd) -> int:
        with psycopg.connect(self._dsn) as connection:
            answers = {row[0] for row in connection.execute("SELECT interaction_id FROM curator.interactions")}
            events = {row[0] for row in connection.execute("SELECT event_id FROM curator.feedback")}
        return len(front_end.answers - answers) + len(front_end.events - events)

    def count_pairs(self) -> Counter[UUID]:
        """How many pairs rest on each edit."""
        with psycopg.connect(self._dsn) as connection:
            query = "SELECT event FROM curator.pairs, unnest(evidence) AS event WHERE rule = 'edit'"
            return Counter(row[0] for row in connection.execute(query))


@pytest.fixture
def upgrade(database_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Iterator[Upgrade]:
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix)
    with ExitStack() as closing:
        yield Upgrade(closing, database_url, kafka_bootstrap, topic_prefix, tmp_path)


def test_both_releases_serve_while_one_follows_the_other(upgrade: Upgrade, database_url: str) -> None:
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = database_url
    command.downgrade(config, RELEASED_SCHEMA)
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        front_end = FrontEnd(create_key(session, "front end", "frontend"))
    engine.dispose()
    old_ingest, old_curator = upgrade.start(upgrade.old, "ingest", "curator")
    front_end.urls = [old_ingest.url]
    front_end.start()
    try:
        time.sleep(PHASE_SECONDS)
        command.upgrade(config, "head")
        before = len(front_end.events)
        time.sleep(PHASE_SECONDS)
        assert len(front_end.events) > before, "the old release goes on, on today's schema"
        until(lambda: upgrade.count_pairs().total() > before / 2, "the old curator curates", SETTLE_SECONDS)
        old_curator.stop()
        time.sleep(PHASE_SECONDS)  # what the old ingest sends meanwhile, only the new curator will read
        [new_curator] = upgrade.start(ROOT, "curator")
        [new_ingest] = upgrade.start(ROOT, "ingest")
        front_end.urls = [new_ingest.url, old_ingest.url]
        old_ingest.stop()
        time.sleep(PHASE_SECONDS)
    finally:
        front_end.stop()
    until(lambda: upgrade.count_missing(front_end) == 0, "everything acknowledged is stored", SETTLE_SECONDS)
    assert not [status for status in front_end.statuses if status >= 500 and status != 503], front_end.statuses
    pairs = upgrade.count_pairs()
    assert set(pairs.values()) == {1}, "no edit counts twice"
    assert set(pairs) == front_end.events, "nor is one left out"
    assert new_curator.is_ready()
