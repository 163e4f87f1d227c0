"""`make bench-ingest`: feedback over HTTP, beside a bare ASGI app, Arize Phoenix and MLflow, in one run, alternating.

- ours: one event per request, the broker's acknowledgement awaited; with an id of ours, with the client's (looked up
  in Postgres), and in batches of 500;
- bare: the least an ASGI app can do with librdkafka (`bare_asgi.py`), and a bare librdkafka producer;
- Phoenix (SQLite, its own default): span annotations, queued (answered before they are stored) and sync;
- MLflow (Postgres, two workers): assessments on a trace.

With `kafka` as its argument it measures ours over one and three real brokers instead: `brokers.py`.

All servers run all the time on the same cores as the load; only one is asked at a time. The peers are asked over as
many connections as suits each best, ours and the bare app over 64.
"""

import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.ingest import brokers
from bench.ingest.contestants import SECONDS, Contestant
from bench.ingest.load import run_load
from bench.ingest.ours import BATCH, open_ours, produce_bare
from bench.ingest.peers import PACKAGES, open_mlflow, open_phoenix
from local.results import Goal, Row, write_result
from local.servers.postgres import create_database
from local.stack.stack import Stack

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
PAIRS = 3
"""How often ours and the bare app take turns in each run: their ratio is the one that noise blurs most."""
MANY_EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
PORT_BASE = int(os.environ.get("BENCH_PORT_BASE", "28100"))


def measure_growth(contestant: Contestant) -> tuple[list[float], float]:
    """Return resident memory (MiB) after each tenth of many events, and the last over the first."""
    memory = []
    for _ in range(10):
        requests = MANY_EVENTS // BATCH // 10
        run_load(contestant.target, connections=contestant.connections, requests=requests)
        memory.append(contestant.server.memory_mib())
    return memory, memory[-1] / memory[0]


def compare(ours: Contestant, theirs: Contestant) -> float:
    return statistics.median(ours.rates) / statistics.median(theirs.rates)


def main() -> None:
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="heliotrope-bench-")))
        home.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
        stack = Stack(home, PORT_BASE, only=("postgres", "valkey", "broker"), throwaway=True)
        stack.up()
        opened.callback(stack.down)
        databases = [create_database(stack.connections.database_server_url, name) for name in ("ours", "peer")]
        ours, bare, chosen, batches = opened.enter_context(
            open_ours(home, stack, databases[0], PORT_BASE + 40, PORT_BASE + 41)
        )
        queued, sync = opened.enter_context(open_phoenix(home, PORT_BASE + 42))
        [mlflow] = opened.enter_context(open_mlflow(home, databases[1], PORT_BASE + 44))
        contestants = [ours, bare, queued, chosen, mlflow, sync, batches]
        for peer in (queued, sync, mlflow):
            peer.choose_connections()
        producer_rates: list[float] = []
        for _ in range(RUNS):
            for contestant in (ours, bare) * PAIRS + (queued, chosen, mlflow, sync, batches):
                contestant.run()
            producer_rates.append(produce_bare(stack.connections.kafka_bootstrap_servers))
        memory, growth = measure_growth(batches)
    rows = [row for contestant in contestants for row in contestant.rows()]
    rows.append(Row.of("bare librdkafka producer: throughput", "events/s", producer_rates))
    rows.append(Row.of(f"ours: memory over {MANY_EVENTS:,} events", "MiB", memory))
    share = statistics.median(batches.rates) / statistics.median(producer_rates)
    goals = [
        Goal("requests/s, ours over Phoenix queued", compare(ours, queued), 10, "at_least"),
        Goal("requests/s, ours over MLflow assessments", compare(ours, mlflow), 30, "at_least"),
        Goal("requests/s, ours over bare ASGI", compare(ours, bare), 0.6, "at_least"),
        Goal("events/s, batches over a bare producer", share, 0.25, "at_least"),
        Goal("memory, after all events over after a tenth", growth, 1.1, "at_most"),
    ]
    settings = {
        "seconds": SECONDS,
        "connections": {contestant.name: contestant.connections for contestant in contestants},
        "batch": BATCH,
        "peers": PACKAGES,
    }
    write_result("ingest", rows, goals, settings)


if __name__ == "__main__":
    if sys.argv[1:] == ["kafka"]:
        brokers.measure(RUNS, PORT_BASE)
    else:
        main()
