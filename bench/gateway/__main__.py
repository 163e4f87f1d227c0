"""Throughput, and the latency that a proxy adds, of three ways to one mock model: direct, LiteLLM, ours.

In each run every way is measured at every level, one after the other, so that a noisy machine disturbs all alike; what
is promised are ratios of medians over the runs. `instant` (the model does not wait) finds the most requests per second;
`paced` (50 ms to the first token, then ten tokens 10 ms apart) finds how much longer a user waits than without a proxy.
LiteLLM runs without database and logging, with one worker or one per CPU, whichever is faster. Ours is one process, and
records every answer.
"""

import argparse
import contextlib
import itertools
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from bench.gateway.servers import LITELLM_CANDIDATES, run_gateway, run_litellm, run_mock
from bench.gateway.streams import Load, Target, run_load
from local.results import Goal, Row, write_result

LEVELS = (1, 16, 64, 256)
RUNS = 5
SECONDS = {"instant": 1.0, "paced": 2.0}
PORT_BASE = 28_100
MOCK, LITELLM = 60, 61
"""Their ports, above the base."""

Figures = dict[str, list[float]]


def choose_litellm(logs: Path, port_base: int) -> str:
    """Return the setting with the most requests per second at 64 streams."""
    rates = {}
    for name, arguments in LITELLM_CANDIDATES.items():
        with run_litellm(arguments, port_base + LITELLM, port_base + MOCK, logs) as target:
            run_load(target, streams=16, seconds=2, pace="instant")
            rates[name] = run_load(target, streams=64, seconds=4, pace="instant").per_second
        print(f"LiteLLM with {name}: {rates[name]:,.0f} requests/s", flush=True)
    return max(rates, key=lambda name: rates[name])


@contextlib.contextmanager
def run_ways(litellm: str, logs: Path, port_base: int) -> Iterator[dict[str, Target]]:
    with (
        run_gateway(logs / "home", port_base, port_base + MOCK) as ours,
        run_litellm(LITELLM_CANDIDATES[litellm], port_base + LITELLM, port_base + MOCK, logs) as theirs,
    ):
        yield {"direct": Target(port_base + MOCK), "litellm": theirs, "ours": ours}


def measure(ways: Mapping[str, Target], runs: int, figures: Figures) -> int:
    """Add to `figures`; return how many requests failed."""
    failures = 0
    for target in ways.values():
        run_load(target, streams=16, seconds=1, pace="instant")
    for run in range(runs):
        for (pace, seconds), streams in itertools.product(SECONDS.items(), LEVELS):
            loads = {way: run_load(target, streams=streams, seconds=seconds, pace=pace) for way, target in ways.items()}
            failures += sum(load.failures for load in loads.values())
            if pace == "paced":
                add_latencies(loads, streams, figures)
            else:
                for way, load in loads.items():
                    figures[f"{way}, {streams} streams: requests/s"].append(load.per_second)
        print(f"run {run + 1} of {runs} done", flush=True)
    return failures


def add_latencies(loads: Mapping[str, Load], streams: int, figures: Figures) -> None:
    for way in ("litellm", "ours"):
        for percent in (50, 99):
            added = loads[way].calculate_percentile(percent) - loads["direct"].calculate_percentile(percent)
            figures[f"{way}, {streams} streams: added p{percent}"].append(added * 1000)
        first = statistics.median(loads[way].first_byte) - statistics.median(loads["direct"].first_byte)
        figures[f"{way}, {streams} streams: added p50 to the first byte"].append(first * 1000)


def check_recorded(target: Target) -> None:
    """Check that ours was measured while it did its work: no answer may have gone unrecorded."""
    for line in httpx.get(f"http://127.0.0.1:{target.port}/metrics", trust_env=False).text.splitlines():
        if line.startswith("heliotrope_interactions_unrecorded_total{") and not line.endswith(" 0.0"):
            raise RuntimeError(f"answers went unrecorded: {line}")


def list_goals(figures: Figures) -> list[Goal]:
    median = {name: statistics.median(values) for name, values in figures.items()}
    goals = []
    for streams in LEVELS:
        at = f"{streams} streams"
        rate = median[f"ours, {at}: requests/s"] / median[f"litellm, {at}: requests/s"]
        goals.append(Goal(f"{at}: requests/s, ours over LiteLLM", rate, 5, "at_least"))
        share = median[f"ours, {at}: added p99"] / median[f"litellm, {at}: added p99"]
        goals.append(Goal(f"{at}: added p99, ours over LiteLLM", share, 0.2, "at_most"))
        goals.append(Goal(f"{at}: added p50, ours, ms", median[f"ours, {at}: added p50"], 2, "at_most"))
    return goals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--port-base", type=int, default=PORT_BASE)
    parser.add_argument("--litellm", choices=LITELLM_CANDIDATES, help="its setting; without it both are tried first")
    arguments = parser.parse_args()
    figures: Figures = defaultdict(list)
    base = arguments.port_base
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as folder, run_mock(base + MOCK, Path(folder)):
        logs = Path(folder)
        best = arguments.litellm or choose_litellm(logs, base)
        with run_ways(best, logs, base) as ways:
            failures = measure(ways, arguments.runs, figures)
            check_recorded(ways["ours"])
    rows = [Row.of(name, "1/s" if "requests/s" in name else "ms", values) for name, values in figures.items()]
    settings = {"litellm": best, "failures": failures, "seconds": SECONDS, "recording": "on, to a real broker"}
    write_result("gateway", rows, list_goals(figures), settings)


if __name__ == "__main__":
    main()
