"""Events through the real broker into Postgres while the curator is killed and Postgres goes down: nothing is lost,
nothing counts twice, and the dataset is that of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from bench.curator.history import make_history
from bench.curator.tables import store
from local.servers.postgres import create_database
from local.stack.preparation import migrate
from local.stack.stack import Stack
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import freeze_dataset
from shared.bus import encode
from shared.bus.kafka import KafkaBusProducer, create_topics
from tests.builders import EMBEDDER, make_artifacts

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SEED = 3
PREFIX = "faults."


@dataclass(frozen=True)
class Plan:
    prompts: int
    kills: int
    restarts: int
    batch: int
    deadline_seconds: float


@dataclass
class Servers:
    """A Postgres and a broker of one's own: they are killed here."""

    stack: Stack

    @property
    def server_url(self) -> str:
        return self.stack.connections.database_server_url

    @property
    def bootstrap(self) -> str:
        return self.stack.connections.kafka_bootstrap_servers

    def kill_postgres(self) -> None:
        """SIGKILL the postmaster and all that is his; the supervisor starts it again."""
        pid = int((self.stack.layout.home / "postgres" / "postmaster.pid").read_text().split()[0])
        children = psutil.Process(pid).children(recursive=True)
        for process in (psutil.Process(pid), *children):
            process.kill()


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory, find_port_base: Callable[[], int]) -> Iterator[Servers]:
    home = tmp_path_factory.mktemp("faults")
    for folder in (home, home.parent, home.parent.parent):
        folder.chmod(0o755)
    stack = Stack(home, find_port_base(), only=("postgres", "broker"), throwaway=True)
    stack.up()
    yield Servers(stack)
    stack.down()


class Worker:
    """The curator's consumer in a process; it is started again whenever it is gone."""

    def __init__(self, *arguments: str) -> None:
        self._command = (sys.executable, "-m", "bench.curator.worker", *arguments)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


def count_events(url: str) -> int:
    """Interactions and feedback stored; 0 while Postgres is away."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    query = "SELECT (SELECT count(*) FROM curator.interactions) + (SELECT count(*) FROM curator.feedback)"
    try:
        with psycopg.connect(plain, connect_timeout=2) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.OperationalError:
        return 0
    return int(row[0]) if row else 0


def consume_under_fire(servers: Servers, url: str, events: int, plan: Plan) -> tuple[int, int]:
    """Consume while killing; (kills, restarts of Postgres) that happened before everything was stored."""
    rng = random.Random(SEED)
    worker = Worker(url, servers.bootstrap, PREFIX, str(plan.batch), "2")
    kills, restarts, give_up = 0, 0, time.monotonic() + plan.deadline_seconds
    try:
        while (stored := count_events(url)) < events:
            assert time.monotonic() < give_up, f"{stored} of {events} stored, {kills} kills"
            due = (kills + restarts + 1) / (plan.kills + plan.restarts + 1)
            if stored >= due * events * 0.9 and kills + restarts < plan.kills + plan.restarts:
                if restarts < plan.restarts and (kills + 1) * plan.restarts >= (restarts + 1) * plan.kills:
                    servers.kill_postgres()
                    restarts += 1
                else:
                    time.sleep(rng.random() * 0.2)
                    worker.kill()
                    worker.start()
                    kills += 1
            time.sleep(0.05)
    finally:
        worker.close()
    return kills, restarts


def read_state(url: str, datasets: Path) -> tuple[str, list[tuple[object, ...]]]:
    """(hash of the dataset frozen now, every pair and label with its state)."""
    engine = create_engine(url)
    with Session(engine) as session, session.begin():
        dataset = freeze_dataset(
            session, datasets, make_artifacts(datasets), Caps(200, 20), embedder=EMBEDDER, parent_version="7", now=NOON
        )
        sha256 = dataset.dataset_sha256
    with engine.connect() as connection:
        query = "SELECT pair_id, state FROM curator.pairs UNION ALL SELECT label_id, 'label' FROM curator.labels"
        rows = sorted(tuple(row) for row in connection.exec_driver_sql(query))
    engine.dispose()
    return sha256, rows


def read_ids(url: str) -> list[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        query = (
            "SELECT interaction_id::text FROM curator.interactions"
            " UNION ALL SELECT event_id::text FROM curator.feedback"
        )
        found = [row[0] for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return found


def run(servers: Servers, tmp_path: Path, plan: Plan) -> dict[str, object]:
    disturbed = create_database(servers.server_url, "disturbed")
    migrate(disturbed)
    undisturbed = create_database(servers.server_url, "undisturbed", template="disturbed")
    history = list(make_history(plan.prompts, SEED))
    create_topics(servers.bootstrap, topic_prefix=PREFIX, partitions=3)
    producer = KafkaBusProducer(servers.bootstrap, client_id="faults", deadline_seconds=60)
    for stored in [producer.send(encode(event, source="faults", topic_prefix=PREFIX)) for event in history]:
        stored.result(60)
    producer.close(10)
    kills, restarts = consume_under_fire(servers, disturbed, len(history), plan)
    store(undisturbed, plan.prompts, SEED)
    sent = {str(getattr(event, "event_id", None) or event.interaction_id) for event in history}
    found = read_ids(disturbed)
    one, other = read_state(disturbed, tmp_path / "disturbed"), read_state(undisturbed, tmp_path / "undisturbed")
    return {
        "events": len(history),
        "kills": kills,
        "restarts": restarts,
        "lost": len(sent - set(found)),
        "duplicated": len(found) - len(set(found)),
        "same pairs and labels": one[1] == other[1],
        "same dataset": one[0] == other[0],
    }


def check(result: dict[str, object], plan: Plan) -> None:
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["same pairs and labels"]
    assert result["same dataset"]
    assert (result["kills"], result["restarts"]) == (plan.kills, plan.restarts)


def test_kills_and_a_restart_of_postgres_lose_and_repeat_nothing(servers: Servers, tmp_path: Path):
    plan = Plan(prompts=400, kills=2, restarts=1, batch=40, deadline_seconds=200)
    check(run(servers, tmp_path, plan), plan)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_a_hundred_thousand_events_under_thirty_kills(servers: Servers, tmp_path: Path):
    plan = Plan(prompts=31_400, kills=30, restarts=3, batch=1000, deadline_seconds=2400)
    result = run(servers, tmp_path, plan)
    for name, value in result.items():
        sys.stdout.write(f"| {name} | {value} |\n")
    assert int(str(result["events"])) >= 100_000
    check(result, plan)
