"""`make bench-ingest ARGS=kafka`: our ingest over one and three real brokers, beside the bare app and a bare producer.

Brokers are Apache Kafka, from the release that KAFKA_HOME names; three keep three copies, of which two must be there.
The contestants take turns, over 1, 16 and 64 connections (the producer: as many records on their way at once), after a
warm-up: cold brokers are three times slower for half a minute. Everything shares the cores.
"""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.ingest.closed_loop import BareProducer
from bench.ingest.contestants import SECONDS, Contestant, Figures
from bench.ingest.load import Load, run_load
from bench.ingest.ours import make_event, open_ours
from local.results import Goal, Row, write_result
from local.servers.kafka_cluster import KafkaCluster
from local.servers.postgres import create_database
from local.stack.stack import Stack
from local.topics import load_plans
from shared.bus.limits import open_admin
from shared.bus.topics import ensure_topics
from shared.events import FeedbackReceived

CONNECTIONS = (1, 16, 64)
WARM_SECONDS = float(os.environ.get("BENCH_WARM_SECONDS", "15"))
RECORD_BYTES = 420
"""What an event of ours weighs in Kafka."""
ADDED_MS = 1.5
NAMES = ("ours", "bare ASGI", "bare producer")

RunLoad = Callable[[int, float], Load]


@dataclass
class Brokers:
    """One shape of Kafka and what it gave, by contestant and connections."""

    name: str
    loads: dict[str, RunLoad]
    figures: dict[tuple[str, int], Figures] = field(default_factory=dict)

    def warm_up(self) -> None:
        for load in self.loads.values():
            load(CONNECTIONS[-1], WARM_SECONDS)

    def run(self) -> None:
        """Let everyone take its turn once."""
        for connections in CONNECTIONS:
            for name, load in self.loads.items():
                done = load(connections, SECONDS)
                if refused := {status: count for status, count in done.statuses.items() if status >= 300}:
                    raise RuntimeError(f"{name} over {self.name}: {refused}")
                self.figures.setdefault((name, connections), Figures()).keep(done)

    def rows(self) -> Iterator[Row]:
        for (name, connections), figures in self.figures.items():
            yield from figures.describe(f"{self.name}, {connections} at once, {name}")
        for connections in CONNECTIONS:
            yield Row.of(f"{self.name}, {connections} at once, ours adds to p50", "ms", self._list_added(connections))

    def _list_added(self, connections: int) -> list[float]:
        """What ours takes longer than the producer, run by run."""
        ours, bare = (self.figures[name, connections].medians for name in ("ours", "bare producer"))
        return [one - other for one, other in zip(ours, bare, strict=True)]

    def goal(self) -> Goal:
        added = statistics.median(self._list_added(CONNECTIONS[0]))
        return Goal(f"{self.name}: ms that ours adds to a bare producer's p50, one at once", added, ADDED_MS, "at_most")


def _over_http(contestant: Contestant, connections: int, seconds: float) -> Load:
    load = run_load(contestant.target, connections=connections, seconds=seconds)
    contestant.server.wait_until_idle()
    return load


def open_brokers(opened: ExitStack, home: Path, stack: Stack, brokers: int, port: int) -> Brokers:
    """Start `brokers` of Kafka and what is measured over them; all of it ends with `opened`."""
    cluster = KafkaCluster(home / f"kafka-{brokers}", brokers=brokers)
    opened.callback(cluster.stop)
    cluster.start()
    ensure_topics(open_admin(cluster.bootstrap_servers), load_plans(""))
    folder = home / f"services-{brokers}"
    folder.mkdir()
    database = create_database(stack.connections.database_server_url, f"ours_{brokers}")
    ours, bare, *_ = opened.enter_context(open_ours(folder, stack, database, port, port + 1, cluster.bootstrap_servers))
    producer = BareProducer(cluster.bootstrap_servers, FeedbackReceived.topic, make_event(1).ljust(RECORD_BYTES))
    loads: dict[str, RunLoad] = dict(
        zip(NAMES, (partial(_over_http, ours), partial(_over_http, bare), producer.run), strict=True)
    )
    opened.callback(loads.clear)  # the producer ends before its brokers do
    return Brokers("one broker" if brokers == 1 else f"{brokers} brokers", loads)


def measure(runs: int, port_base: int) -> None:
    """Measure over one broker and over three, one after the other, and write `ingest-kafka.json`."""
    measured = []
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="heliotrope-bench-")))
        home.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
        stack = Stack(home, port_base, only=("postgres", "valkey"), throwaway=True)
        stack.up()
        opened.callback(stack.down)
        for count in (1, 3):
            with ExitStack() as shape:
                brokers = open_brokers(shape, home, stack, count, port_base + 40)
                brokers.warm_up()
                for _ in range(runs):
                    brokers.run()
                    print(f"{brokers.name}: load average {os.getloadavg()[0]:.1f}", flush=True)
            measured.append(brokers)
    rows = [row for brokers in measured for row in brokers.rows()]
    settings = {"seconds": SECONDS, "warm_seconds": WARM_SECONDS, "load_average_after": os.getloadavg()}
    write_result("ingest-kafka", rows, [brokers.goal() for brokers in measured], settings)
