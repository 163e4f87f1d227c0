"""`make bench-size`: what a look of the drift monitor costs with 10^5 and 10^6 interactions in the tables.

The tables are filled in SQL under the schema of an older commit, whose monitor looks first; then they are migrated to
today's while nobody writes, and today's monitor looks. CPU is that of the monitor's process and of every process of
Postgres. 10^7 with `ARGS=7` takes some 30 GB and an hour.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

from bench.size.tables import DAYS, fill
from local.results import Goal, Row, write_result
from local.servers.postgres import create_database, drop_database
from local.stack.preparation import migrate
from local.stack.stack import Stack

PORT_BASE = 19_500
BEFORE = "23016c0"
ROOT = Path(__file__).resolve().parents[2]
LOOK = ROOT / "bench" / "size" / "look.py"
SIZES = [10**power for power in (5, 6, 7) if power <= int(sys.argv[1] if len(sys.argv) > 1 else 6)]
MIGRATE = "import sys; from local.stack.preparation import migrate; migrate(sys.argv[1])"

Figures = dict[str, list[float]]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as home:
        Path(home).chmod(0o755)
        older = Path(home) / "older"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", "-f", str(older), BEFORE], cwd=ROOT, check=True)
        stack = Stack(Path(home) / "stack", PORT_BASE, only=("postgres",))
        try:
            stack.up()
            run(Bench(stack, Path(home) / "stack", older))
        finally:
            stack.down()
            subprocess.run(["git", "worktree", "remove", "--force", str(older)], cwd=ROOT, check=True)


class Bench:
    def __init__(self, stack: Stack, home: Path, older: Path) -> None:
        self.server = stack.connections.database_server_url
        self.older = older
        postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
        self.postgres = psutil.Process(postmaster)

    def measure_postgres_ms(self) -> float:
        processes = [self.postgres, *self.postgres.children(recursive=True)]
        return 1e3 * sum(sum(process.cpu_times()[:2]) for process in processes)

    def look(self, url: str, checkout: Path, label: str, figures: Figures) -> None:
        """Let a checkout's monitor look, and note what each look costs."""
        process = subprocess.Popen(
            [sys.executable, str(LOOK), url, str(DAYS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env={"PYTHONPATH": str(checkout), "PATH": "/usr/bin:/bin"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            before = self.measure_postgres_ms()
            process.stdin.write("look\n")
            process.stdin.flush()
            if not (line := process.stdout.readline()):
                break
            seen = json.loads(line)
            failed = f", failed: {seen['error']}" if seen["error"] else ""
            name = f"{label}: {seen['name']}{failed}"
            figures[f"{name}, CPU"].append(seen["cpu_ms"] + self.measure_postgres_ms() - before)
            figures[f"{label}: peak memory of the monitor"].append(seen["memory"])
            if seen["name"] == "look that closes nothing" and len(figures[f"{name}, CPU"]) == 5:
                break
        process.stdin.close()
        process.wait(60)


def run(bench: Bench) -> None:
    figures: Figures = defaultdict(list)
    for size in SIZES:
        name = f"10^{len(str(size)) - 1}"
        url = create_database(bench.server, f"size_{size}")
        subprocess.run(
            [sys.executable, "-c", MIGRATE, url],
            cwd=bench.older,
            env={"PYTHONPATH": str(bench.older), "PATH": "/usr/bin:/bin"},
            check=True,
        )
        fill(url, size)
        bench.look(url, bench.older, f"{BEFORE}, {name}", figures)
        started = time.perf_counter()
        migrate(url)
        figures[f"migration to today's schema, {name}"].append(time.perf_counter() - started)
        bench.look(url, ROOT, f"today, {name}", figures)
        drop_database(bench.server, f"size_{size}")
    report(figures)


def report(figures: Figures) -> None:
    rows = {name: Row.of(name, _unit(name), values) for name, values in figures.items()}
    largest = f"today, 10^{len(str(SIZES[-1])) - 1}"
    goals = [
        Goal(f"{largest}: look that closes nothing, ms of CPU", _of(rows, largest, "nothing"), 100, "at_most"),
        Goal(f"{largest}: look that closes a day, ms of CPU", _of(rows, largest, "a day"), 1_000, "at_most"),
    ]
    write_result("size", list(rows.values()), goals, {"sizes": SIZES, "days": DAYS, "before": BEFORE})


def _of(rows: dict[str, Row], label: str, closes: str) -> float:
    return next(row.median for name, row in rows.items() if name == f"{label}: look that closes {closes}, CPU")


def _unit(name: str) -> str:
    if "memory" in name:
        return "MiB"
    return "s" if name.startswith("migration") else "ms"


if __name__ == "__main__":
    main()
