"""Something to post to, and what its runs gave."""

import os
from dataclasses import dataclass, field

from bench.ingest.load import Load, Target, run_load
from bench.ingest.processes import Server
from local.results import Row

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
CONNECTIONS = 64
PEER_CONNECTIONS = (4, 16, 64)


@dataclass(kw_only=True)
class Figures:
    """Events per second, and milliseconds, of each run."""

    rates: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)

    def keep(self, load: Load, events: int = 1) -> None:
        """Note a run whose requests carried `events` each."""
        self.rates.append(load.per_second * events)
        self.medians.append(load.percentile(0.50) * 1000)
        self.tails.append(load.percentile(0.99) * 1000)

    def describe(self, name: str) -> list[Row]:
        return [
            Row.of(f"{name}: throughput", "events/s", self.rates),
            Row.of(f"{name}: p50", "ms", self.medians),
            Row.of(f"{name}: p99", "ms", self.tails),
        ]


@dataclass
class Contestant(Figures):
    name: str
    target: Target
    server: Server
    connections: int = CONNECTIONS
    events: int = 1
    memory: list[float] = field(default_factory=list)

    def choose_connections(self) -> None:
        """Choose the number that gives the most requests per second."""
        rates = {}
        for connections in PEER_CONNECTIONS:
            rates[connections] = run_load(self.target, connections=connections, seconds=SECONDS / 2).per_second
            self.server.wait_until_idle()
        self.connections = max(rates, key=lambda connections: rates[connections])
        print(f"{self.name}: best over {self.connections} connections", flush=True)

    def run(self) -> None:
        load = run_load(self.target, connections=self.connections, seconds=SECONDS)
        refused = {status: count for status, count in load.statuses.items() if status >= 300}
        if refused:
            raise RuntimeError(f"{self.name} answered {refused}")
        self._keep(load)
        print(f"{self.name}: {self.rates[-1]:,.0f} events/s", flush=True)
        self.server.wait_until_idle()

    def _keep(self, load: Load) -> None:
        self.keep(load, self.events)
        self.memory.append(self.server.memory_mib())

    def rows(self) -> list[Row]:
        return [*self.describe(self.name), Row.of(f"{self.name}: memory", "MiB", self.memory)]
