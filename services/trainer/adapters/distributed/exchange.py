"""Files through which the launcher and its processes exchange an order, reports, a request to stop and the outcome."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.planning.places import Place
from services.trainer.domain.recipe.parsing import dump_recipe, parse_recipe
from services.trainer.domain.training import Interrupted, Job
from services.trainer.ports import RunReporter

ORDER, REPORTS, OUTCOME, STOP = "order.json", "reports.jsonl", "outcome.json", "stop"


PARENT = ("parent_uri", "parent_sha256")
ERROR, LOG = "error", "ranks.log"


@dataclass(frozen=True)
class Order:
    job: Job
    threads: int


def dump_order(job: Job, threads: int) -> dict[str, Any]:
    """Turn a job into the JSON that `read_order` reads."""
    folders = {
        name: None if folder is None else str(folder.resolve())
        for name, folder in vars(job).items()
        if name not in ("recipe", "rewards", "place", *PARENT)
    }
    parent = {name: getattr(job, name) for name in PARENT}
    content = {"recipe": dump_recipe(job.recipe), "folders": folders, "parent": parent, "threads": threads}
    return content | {"place": vars(job.place)}


def read_order(path: Path) -> Order:
    """Read the order that the launcher wrote."""
    content = json.loads(path.read_bytes())
    folders: dict[str, Any] = {name: folder and Path(folder) for name, folder in content["folders"].items()}
    place = Place(**content["place"])
    job = Job(recipe=parse_recipe(content["recipe"], stored=True), place=place, **folders, **content["parent"])
    return Order(job, content["threads"])


class SilentReporter(RunReporter):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def stopping(self) -> bool:
        return (self._folder / STOP).exists()

    def on_phase(self, phase: str) -> None:
        """Leave it to the first process."""

    def on_step(self, step: int, total: int) -> None:
        """Leave it to the first process."""

    def on_micro_step(self) -> None:
        """Do nothing: the launcher looks after the claim."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Leave it to the first process."""

    def on_note(self, note: str) -> None:
        """Leave it to the first process."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        """Leave it to the first process."""


class FileReporter(SilentReporter):
    """A line of JSON for each call."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = (folder / REPORTS).open("a", encoding="utf-8")

    def _report(self, *call: Any) -> None:
        print(write_call(*call), file=self._file, flush=True)

    def on_phase(self, phase: str) -> None:
        self._report("phase", phase)

    def on_step(self, step: int, total: int) -> None:
        self._report("step", step, total)

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        self._report("metrics", step, dict(metrics))

    def on_note(self, note: str) -> None:
        self._report("note", note)

    def on_checkpoint(self, checkpoint: Path) -> None:
        self._report("checkpoint", str(checkpoint))


class CheckpointReporter(FileReporter):
    """Of the first process on each further machine: it says when its part of a checkpoint is there, and no more."""

    def on_phase(self, phase: str) -> None:
        """Leave it to the run's first process."""

    def on_step(self, step: int, total: int) -> None:
        """Leave it to the run's first process."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Leave it to the run's first process."""

    def on_note(self, note: str) -> None:
        """Leave it to the run's first process."""


def choose_reporter(folder: Path, rank: int, local_rank: int) -> SilentReporter:
    """Choose the reporter of a process, by its number in the run and on its machine."""
    if rank == 0:
        return FileReporter(folder)
    return CheckpointReporter(folder) if local_rank == 0 else SilentReporter(folder)


def write_call(*call: Any) -> str:
    """Write a call of a reporter as a line."""
    return json.dumps(call)


def read_line(line: str | bytes) -> list[Any]:
    """Read what `write_call` wrote."""
    call: list[Any] = json.loads(line)
    return call


def read_reports(path: Path) -> Iterator[list[Any] | None]:
    """Read the reports as they come; None when there is no whole one at the moment."""
    rest = b""
    while not path.exists():
        yield None
    with path.open("rb") as file:
        while True:
            rest += file.read()
            *lines, rest = rest.split(b"\n")
            for line in lines:
                yield read_line(line)
            yield None


def pass_on(report: list[Any], reporter: RunReporter) -> None:
    """Pass a report on to the reporter that looks after the claim."""
    match report:
        case ["phase", str(phase)]:
            with suppress(Interrupted):  # the processes are told through the file, and save what they have
                reporter.on_phase(phase)
        case ["step", int(step), int(total)]:
            reporter.on_step(step, total)
        case ["metrics", int(step), dict(metrics)]:
            reporter.on_metrics(step, metrics)
        case ["note", str(note)]:
            reporter.on_note(note)
        case ["checkpoint", str(checkpoint)]:
            reporter.on_checkpoint(Path(checkpoint))
