"""`make bench-curator`: events per second from the topic to committed rows with their pairs derived.

Two consumers of the curator, each a process; empty topics, filled beforehand; tables that hold 10^4, 10^5 and 10^6
events already (10^4 made by the curator, copied in SQL under other ids as often as it takes). In the same run,
alternating, a plain COPY of the same rows into tables with the same indexes. CPU is that of the consumers and of every
process of Postgres; on a machine that does other things besides, it says more than the clock. What so many cores have
CPU for is how many events a second they would take if nothing else ran and nothing waited: a bound, not a measurement.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil

from bench.curator.history import make_history
from bench.curator.tables import dump, measure_copy, multiply, store
from local.results import Goal, Row, write_result
from local.servers.postgres import create_database, drop_database
from local.stack.preparation import migrate
from local.stack.stack import Stack
from shared.bus import encode
from shared.bus.kafka import KafkaBusProducer, create_topics

PORT_BASE = 19_400
CONSUMERS = 2
CORES = 2
PROMPTS = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
RUNS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
BASE_PROMPTS = 3_200
SIZES = {"10^4": 1, "10^5": 10, "10^6": 100}
DEADLINE_SECONDS = 240


@dataclass(frozen=True)
class Measured:
    events: int
    seconds: float
    consumer_cpu: float
    postgres_cpu: float
    memory: float


class Worker:
    """One consumer process; `latest` is the last line that it wrote."""

    def __init__(self, *arguments: str) -> None:
        self.latest: dict[str, float] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.curator.worker", *arguments], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.latest = json.loads(line)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as home:
        Path(home).chmod(0o755)
        stack = Stack(Path(home), PORT_BASE, only=("postgres", "broker"))
        stack.up()
        try:
            run(Bench(stack, Path(home)))
        finally:
            stack.down()


class Bench:
    def __init__(self, stack: Stack, home: Path) -> None:
        self.server = stack.connections.database_server_url
        self.bootstrap = stack.connections.kafka_bootstrap_servers
        self.home = home
        postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
        self.postgres = psutil.Process(postmaster)

    @contextmanager
    def clone(self, template: str) -> Iterator[str]:
        name = f"run_{uuid4().hex[:8]}"
        yield create_database(self.server, name, template=template)
        drop_database(self.server, name)

    def measure_postgres_cpu(self) -> float:
        processes = [self.postgres, *self.postgres.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    def send(self, prefix: str, seed: int) -> int:
        create_topics(self.bootstrap, topic_prefix=prefix, partitions=4)
        producer = KafkaBusProducer(self.bootstrap, client_id="bench", deadline_seconds=60)
        pending = [
            producer.send(encode(event, source="bench", topic_prefix=prefix)) for event in make_history(PROMPTS, seed)
        ]
        for stored in pending:
            stored.result(60)
        producer.close(10)
        return len(pending)

    def consume(self, url: str, seed: int) -> Measured:
        """Fill fresh topics, start the consumers, and wait for all of it to be committed."""
        prefix = f"b{uuid4().hex[:8]}."
        events = self.send(prefix, seed)
        before = self.measure_postgres_cpu()
        workers = [Worker(url, self.bootstrap, prefix) for _ in range(CONSUMERS)]
        give_up = time.monotonic() + DEADLINE_SECONDS
        try:
            while sum(worker.latest.get("records", 0) for worker in workers) < events:
                if time.monotonic() > give_up:
                    raise TimeoutError("the consumers did not finish")
                time.sleep(0.05)
            spent = self.measure_postgres_cpu() - before
        finally:
            for worker in workers:
                worker.close()
        lines = [worker.latest for worker in workers if worker.latest]
        return Measured(
            events,
            max(line["at"] for line in lines) - min(line["first"] for line in lines),
            sum(line["cpu"] for line in lines),
            spent,
            max(line["memory"] for line in lines),
        )


def run(bench: Bench) -> None:
    rows_folder = bench.home / "rows"
    rows_folder.mkdir()
    empty = create_database(bench.server, "empty")
    migrate(empty)
    for name, copies in SIZES.items():
        url = create_database(bench.server, _database(name), template="empty")
        store(url, BASE_PROMPTS, seed=0)
        multiply(url, copies)
    with bench.clone("empty") as url:
        events = store(url, PROMPTS, seed=1)
        dump(url, rows_folder)
    figures: dict[str, list[float]] = defaultdict(list)
    for number in range(RUNS):
        for name in SIZES:
            note(figures, name, measure(bench, name, number))
        with bench.clone(_database("10^4")) as url:
            figures["plain COPY of the same rows"].append(events / measure_copy(url, rows_folder))
    report(figures, events)


def measure(bench: Bench, name: str, number: int) -> Measured:
    """Measure in a copy of the smaller databases; in the largest itself, which a run makes larger by a few percent."""
    if SIZES[name] == max(SIZES.values()):
        return bench.consume(create_database(bench.server, _database(name)), seed=100 + number)
    with bench.clone(_database(name)) as url:
        return bench.consume(url, seed=100 + number)


def _database(name: str) -> str:
    return "size_" + name.replace("^", "")


def note(figures: dict[str, list[float]], name: str, measured: Measured) -> None:
    figures[f"topic to rows, {name} events in the tables"].append(measured.events / measured.seconds)
    cpu = (measured.consumer_cpu + measured.postgres_cpu) / measured.events * 1e6
    figures[f"CPU per event, {name}"].append(cpu)
    figures[f"what {CORES} cores have CPU for, {name}"].append(CORES * 1e6 / cpu)
    figures[f"of it the consumers', {name}"].append(measured.consumer_cpu / measured.events * 1e6)
    figures["peak memory of a consumer"].append(measured.memory)


def report(figures: dict[str, list[float]], events: int) -> None:
    rows = {name: Row.of(name, _unit(name), values) for name, values in figures.items()}
    rates = [rows[f"topic to rows, {name} events in the tables"].median for name in SIZES]
    goals = [
        Goal("events/s at 10^6 events in the tables", rates[-1], 5_000, "at_least"),
        Goal("cost per event at 10^6 over that at 10^4, by the clock", rates[0] / rates[-1], 1.2, "at_most"),
        Goal(
            "cost per event at 10^6 over that at 10^4, in CPU",
            rows["CPU per event, 10^6"].median / rows["CPU per event, 10^4"].median,
            1.2,
            "at_most",
        ),
        Goal("peak memory of a consumer, MiB", rows["peak memory of a consumer"].high, 500, "at_most"),
    ]
    settings = {"consumers": CONSUMERS, "events_per_run": events, "prompts_per_run": PROMPTS, "batch": 1000}
    write_result("curator", list(rows.values()), goals, settings)


def _unit(name: str) -> str:
    if "memory" in name:
        return "MiB"
    return "µs" if "CPU per event" in name or "consumers'" in name else "events/s"


if __name__ == "__main__":
    main()
