"""What an import of a huge file takes: `make bench-imports`.

Files of 10^5 and 10^6 rows of every source, read and turned into events in a process of its own, whose producer stores
nothing: rows a second of CPU, and the peak of resident memory, which must not grow with the file.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.import_files import SOURCES
from cli.exchange.commands import Job, send_all
from cli.exchange.events import Import
from cli.exchange.found import Options
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.progress import Progress
from cli.exchange.sending import Checkpoint, Sender
from cli.exchange.walking import Place
from local.results import RESULTS, Goal, Row, write_result
from shared.bus import Record
from shared.user_hashes import UserHashes

SMALL, LARGE = 10**5, 10**6
SECRET = "a hash secret of the benchmark"


class NullProducer:
    """Stores nothing, at once."""

    def __init__(self) -> None:
        self._stored: Future[None] = Future()
        self._stored.set_result(None)

    def send(self, record: Record) -> "Future[None]":
        return self._stored


def measure_here(source: str, path: Path) -> None:
    """Import the file in this process, and print what it took."""
    about = Import("bench", source, datetime(2026, 1, 1, tzinfo=UTC), UserHashes(SECRET))
    job = Job(IMPORTERS[source], [path], about, Options())
    sender = Sender(NullProducer(), "", Checkpoint.find(path.parent, "bench", source, [path]))
    began = time.process_time()
    tally = send_all(job, sender, Place(0, 0), Progress(lambda line: None))
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"records": tally.records, "seconds": seconds, "peak_mib": peak}))


def measure(source: str, rows: int, folder: Path) -> dict[str, Any]:
    name, write = SOURCES[source]
    path = folder / name
    write(path, rows)
    command = [sys.executable, "-m", "bench.imports", "--source", source, "--file", str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=3_600)
    path.unlink()
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    assert found["records"] == rows
    print(
        f"{source}, {rows:,} rows: {rows / found['seconds']:,.0f} rows/s of CPU, {found['peak_mib']:.0f} MiB",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="for the child processes")
    parser.add_argument("--file", type=Path, help="for the child processes")
    parser.add_argument("--only", choices=SOURCES, help="measure this source alone, into a result of its own")
    parser.add_argument("--rows", type=int, default=LARGE, help="of the large file")
    given = parser.parse_args()
    if given.source:
        measure_here(given.source, given.file)
        return
    rows, goals = [], []
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as folder:
        for source in [given.only] if given.only else SOURCES:
            found = {size: measure(source, size, Path(folder)) for size in (SMALL, given.rows)}
            for size, one in found.items():
                rows.append(Row.of(f"{source}, {size:,} rows: speed", "rows/s of CPU", [size / one["seconds"]]))
                rows.append(Row.of(f"{source}, {size:,} rows: peak memory", "MiB", [one["peak_mib"]]))
            growth = found[given.rows]["peak_mib"] / found[SMALL]["peak_mib"]
            goals.append(Goal(f"{source}: memory at {given.rows:,} over {SMALL:,} rows", growth, 1.1, "at_most"))
    name = f"imports-{given.only}" if given.only else "imports"
    write_result(name, rows, goals, {}, folder=RESULTS)


if __name__ == "__main__":
    main()
