"""What an import of a huge file takes: `make bench-imports`.

Files of 10^5 and 10^6 rows (of five sources), read and turned into events in a process of its own, whose
producer stores nothing: rows a second of CPU, and the peak of resident memory, which must not grow with the file.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.exchange.commands import Job, send_all
from cli.exchange.events import Import
from cli.exchange.found import Options
from cli.exchange.progress import Progress
from cli.exchange.registry import IMPORTERS
from cli.exchange.sending import Checkpoint, Sender
from cli.exchange.walking import Place
from local.results import RESULTS, Goal, Row, write_result
from shared.bus import Record
from shared.user_hashes import UserHashes

SMALL, LARGE = 10**5, 10**6
SECRET = "a hash secret of the benchmark"


def write_langfuse(path: Path, rows: int) -> None:
    """Write traces with a thumb each, one JSON object a line."""
    with path.open("w") as file:
        for number in range(rows):
            score = {"id": f"s{number}", "name": "user-feedback", "value": number % 2, "dataType": "BOOLEAN"}
            at = "2026-03-01T10:00:00.000Z"
            trace = {
                "id": f"t{number}",
                "timestamp": at,
                "userId": f"user-{number % 5_000}",
                "input": [{"role": "user", "content": f"Where is order {number}?"}],
                "output": {"role": "assistant", "content": f"Order {number} left our store on Monday. " * 4},
                "scores": [score | {"traceId": f"t{number}", "source": "API", "timestamp": at}],
            }
            file.write(json.dumps(trace) + "\n")


def write_huggingface(path: Path, rows: int) -> None:
    """Write pairs, as one JSON list."""
    with path.open("w") as file:
        for number in range(rows):
            question = {"role": "user", "content": f"Where is order {number}?"}
            answers = {"chosen": f"Order {number} left on Monday. " * 4, "rejected": "I do not know that. " * 4}
            pair = {side: [question, {"role": "assistant", "content": text}] for side, text in answers.items()}
            file.write(("," if number else "[") + json.dumps(pair) + "\n")
        file.write("]")


def write_open_webui(path: Path, rows: int) -> None:
    """Write chats of one answer with its rating, as one JSON list."""
    with path.open("w") as file:
        for number in range(rows):
            asked = {"id": f"u{number}", "parentId": None, "role": "user", "content": f"Where is order {number}?"}
            answer = {
                "id": f"a{number}",
                "parentId": f"u{number}",
                "role": "assistant",
                "content": f"Order {number} left our store on Monday. " * 4,
                "model": "small-1",
                "timestamp": 1_767_000_000 + number,
                "annotation": {"rating": 1 if number % 2 else -1, "comment": "As I said."},
            }
            messages = {one["id"]: one for one in (asked, answer)}
            chat = {
                "id": f"c{number}",
                "user_id": f"user-{number % 5_000}",
                "chat": {"history": {"messages": messages}},
            }
            file.write(("," if number else "[") + json.dumps(chat) + "\n")
        file.write("]")


def write_phoenix(path: Path, rows: int) -> None:
    """Write spans with flat attributes and an annotation each, one JSON object a line."""
    said = {"role": "assistant", "content": "It left our store on Monday. " * 4}
    with path.open("w") as file:
        for number in range(rows):
            asked = {"role": "user", "content": f"Where is order {number}?"}
            sides = {"input": asked, "output": said}
            attributes = {
                f"llm.{side}_messages.0.message.{name}": value
                for side, message in sides.items()
                for name, value in message.items()
            }
            note = {"id": f"n{number}", "name": "thumb", "annotator_kind": "HUMAN", "result": {"label": "good"}}
            span = {
                "context": {"span_id": f"s{number}", "trace_id": f"t{number}"},
                "span_kind": "LLM",
                "start_time": "2026-05-01T08:00:00+00:00",
                "attributes": attributes | {"user.id": f"user-{number % 5_000}", "llm.model_name": "small-1"},
                "annotations": [note],
            }
            file.write(json.dumps(span) + "\n")


def write_csv(path: Path, rows: int) -> None:
    """Write a table of answers with a thumb each."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "prompt", "answer", "thumb", "user", "time"])
        for number in range(rows):
            asked, answer = f"Where is order {number}?", f"Order {number} left our store on Monday. " * 4
            thumb, user = ("up", "down")[number % 2], f"user-{number % 5_000}"
            table.writerow([number, asked, answer, thumb, user, "2026-03-01T10:00:00Z"])


SOURCES: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "langfuse": ("traces.jsonl", write_langfuse),
    "huggingface": ("pairs.json", write_huggingface),
    "open-webui": ("chats.json", write_open_webui),
    "phoenix": ("spans.jsonl", write_phoenix),
    "csv": ("answers.csv", write_csv),
}


class NullProducer:
    """Stores nothing, at once."""

    def send(self, record: Record) -> "Future[None]":
        stored: Future[None] = Future()
        stored.set_result(None)
        return stored


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
    given = parser.parse_args()
    if given.source:
        measure_here(given.source, given.file)
        return
    rows, goals = [], []
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as folder:
        for source in [given.only] if given.only else SOURCES:
            found = {size: measure(source, size, Path(folder)) for size in (SMALL, LARGE)}
            for size, one in found.items():
                rows.append(Row.of(f"{source}, {size:,} rows: speed", "rows/s of CPU", [size / one["seconds"]]))
                rows.append(Row.of(f"{source}, {size:,} rows: peak memory", "MiB", [one["peak_mib"]]))
            growth = found[LARGE]["peak_mib"] / found[SMALL]["peak_mib"]
            goals.append(Goal(f"{source}: memory at 10^6 over 10^5 rows", growth, 1.1, "at_most"))
    name = f"imports-{given.only}" if given.only else "imports"
    write_result(name, rows, goals, {}, folder=RESULTS)


if __name__ == "__main__":
    main()
