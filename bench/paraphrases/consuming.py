"""What the curator's consumer takes of these sources beside those of an earlier commit, alternating."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from local.servers.postgres import create_database, drop_database
from local.stack.stack import Stack

ROOT = Path(__file__).parents[2]
PEER = "64197ca"
"""The last commit whose consumer put each prompt into a cell by SimHash."""
PORT_BASE = 19_600
STORE = """
import sys, time
from alembic import command
from alembic.config import Config
from bench.curator.tables import store
config = Config("alembic.ini")
config.attributes["url"] = sys.argv[1]
command.upgrade(config, "head")
started, used = time.perf_counter(), time.process_time()
events = store(sys.argv[1], int(sys.argv[2]), seed=int(sys.argv[3]))
print(events / (time.perf_counter() - started), events / (time.process_time() - used))
"""


def compare_consumers(prompts: int, runs: int) -> dict[str, list[float]]:
    """Measure events per second by the clock, and per second of the consumer's CPU: here and at the earlier commit."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as home:
        Path(home).chmod(0o755)
        peer = Path(home) / "peer"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(peer), PEER], check=True)
        stack = Stack(Path(home) / "stack", PORT_BASE, only=("postgres",))
        stack.up()
        try:
            for run in range(runs):
                for name, folder in (("before", peer), ("now", ROOT)):
                    by_clock, by_cpu = _store(stack.connections.database_server_url, folder, prompts, run)
                    found.setdefault(f"consumer, {name}, by the clock", []).append(by_clock)
                    found.setdefault(f"consumer, {name}, by its CPU", []).append(by_cpu)
        finally:
            stack.down()
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(peer)], check=False)
    return found


def _store(server: str, folder: Path, prompts: int, seed: int) -> tuple[float, float]:
    name = f"bench_{folder.name}_{seed}"
    url = create_database(server, name)
    told = subprocess.run(
        [sys.executable, "-c", STORE, url, str(prompts), str(seed)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}:{folder / 'clients/python'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    drop_database(server, name)
    by_clock, by_cpu = told.stdout.strip().splitlines()[-1].split()
    return float(by_clock), float(by_cpu)
