"""A run without the rest of the system: a recipe and two folders in, one folder out."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.trainer.adapters.artifacts.checkpoints import find_newest, mark_complete
from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.progress import calculate_seconds_left
from services.trainer.domain.recipe.parsing import calculate_recipe_sha256, dump_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import NO_FUNCTIONS, Interrupted, Job, RewardRules, TrainingResult
from services.trainer.handlers.replay import mix_folders
from services.trainer.ports import Mirror, NoMirror, TrainingMethod
from shared.errors import Conflict, InvalidRequest
from shared.ids import new_id

SHOWN_METRICS = {
    "loss": "loss",
    "rewards/margins": "margin",
    "rewards/accuracies": "ranked right",
    "margin": "margin",
    "accuracy": "ranked right",
    "reward": "reward",
    "objective/scores": "reward",
    "kl": "KL",
    "objective/kl": "KL",
}
"""What is printed of a step: the name that a method logs, and how it is called here."""

PrintLine = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What to train from what, and where the result goes."""

    recipe: Recipe
    base: Path
    dataset: Path
    output: Path
    rewards: RewardRules = NO_FUNCTIONS


def run_standalone(
    order: Order, train: TrainingMethod, print_line: PrintLine, stop: threading.Event, mirror: Mirror | None = None
) -> TrainingResult:
    """Train into the output folder: `candidate/`, `metrics.jsonl`, `run.json`. The same order again resumes.

    Raises:
        InvalidRequest: a folder is missing what it must hold.
        Conflict: the output folder is finished, or belongs to another run.
        TrainingFailed: the data cannot be used, or a guard stopped the run.
        Interrupted: `stop` was set; the same order goes on from the checkpoint.
    """
    check_folders(order)
    identity = _open_output(order.output, _identify(order))
    job, replay = _prepare_job(order, print_line)
    identity |= replay
    with (
        mirrored(mirror or NoMirror(), identity) as shown,
        (order.output / "metrics.jsonl").open("a", encoding="utf-8") as file,
    ):

        def write(step: int, metrics: Metrics) -> None:
            print(json.dumps({"step": step} | dict(metrics)), file=file, flush=True)
            shown.log(step, metrics)

        result = train(job, TerminalReporter(print_line, stop, write))
        _write_run(order.output, identity | {"result": asdict(result)})
        shown.end("succeeded", {"reason": result.summary, "weights_sha256": result.weights_sha256})
    return result


def _identify(order: Order) -> dict[str, Any]:
    """Identify the run: another recipe, base or dataset is another run."""
    return {
        "recipe": dump_recipe(order.recipe),
        "recipe_sha256": calculate_recipe_sha256(order.recipe),
        "base": str(order.base.resolve()),
        "dataset": str(order.dataset.resolve()),
    }


def _prepare_job(order: Order, print_line: PrintLine) -> tuple[Job, dict[str, Any]]:
    """Prepare the next attempt; returns it, and what its dataset was mixed of, if it was."""
    attempts = order.output / "checkpoints"
    token = max((int(path.name) for path in attempts.iterdir() if path.name.isdigit()), default=0) + 1
    resume_from = find_newest(attempts, below_token=token)
    if resume_from:
        print_line(f"going on from {resume_from.name}")
    attempt, dataset, replay = attempts / str(token), order.dataset, dict[str, Any]()
    attempt.mkdir()
    if order.recipe.replay.is_asked_for:
        mixed = mix_folders(order.recipe, order.dataset, attempt)
        dataset, replay = mixed.dataset, {"replay": mixed.summary}
        print_line(f"replay: {json.dumps(mixed.summary)}")
    candidate = order.output / "candidate"
    return Job(order.recipe, order.base, dataset, attempt, resume_from, candidate, rewards=order.rewards), replay


@contextmanager
def mirrored(mirror: Mirror, identity: dict[str, Any]) -> Iterator[Mirror]:
    """Begin the run in the mirror; whatever ends the run ends it there too."""
    recipe = identity["recipe"]
    mirror.begin(
        identity["run_id"],
        recipe["name"],
        recipe | {name: value for name, value in identity.items() if name != "recipe"},
    )
    try:
        yield mirror
    except Interrupted:
        raise
    except Exception as error:
        mirror.end("failed", {"reason": str(error)})
        raise
    finally:
        mirror.leave()


def check_folders(order: Order) -> None:
    """Check that the folders hold a model and a dataset. Raises: InvalidRequest."""
    for folder, file, name in ((order.base, "config.json", "base"), (order.dataset, "train.parquet", "dataset")):
        if not (folder / file).is_file():
            raise InvalidRequest(f"{name}: {str(folder)!r} holds no {file}")


def _open_output(output: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Open or create the output folder; returns the identity with the run's id."""
    record, run_id = output / "run.json", str(new_id())
    if record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))
        if "result" in known:
            raise Conflict(f"{str(output)!r} holds a finished run; give another output folder")
        run_id = known.pop("run_id", run_id)
        if known != identity:
            raise Conflict(f"{str(output)!r} holds a run of another recipe, base or dataset")
    elif output.exists() and any(output.iterdir()):
        raise Conflict(f"{str(output)!r} is not empty and holds no run")
    (output / "checkpoints").mkdir(parents=True, exist_ok=True)
    identity = {"run_id": run_id} | identity
    _write_run(output, identity)
    return identity


def _write_run(output: Path, content: dict[str, Any]) -> None:
    draft = output / "run.json.draft"
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(output / "run.json")


class TerminalReporter:
    """Says how the run is getting on; nobody else can take it over."""

    def __init__(
        self,
        print_line: PrintLine,
        stop: threading.Event,
        write: Callable[[int, Metrics], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._print_line = print_line
        self._stop = stop
        self._write = write
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._left: float | None = None
        self._total = 0

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def on_phase(self, phase: str) -> None:
        self._print_line(phase) if not phase.endswith("reference") else None
        if self.stopping:
            raise Interrupted(f"while {phase}")

    def on_micro_step(self) -> None:
        """Do nothing: nobody else can take the run over."""

    def on_step(self, step: int, total: int) -> None:
        now = self._clock()
        self._first = self._first or (step, now)
        self._total = total
        self._left = calculate_seconds_left(step, total, first_step=self._first[0], seconds=now - self._first[1])

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        self._write(step, metrics)
        figures = [f"{word} {metrics[name]:.4g}" for name, word in SHOWN_METRICS.items() if name in metrics]
        if figures:
            left = "" if self._left is None else f", {self._left:.0f} s left"
            of = f"/{self._total}" if self._total else ""
            self._print_line(f"step {step}{of}: {', '.join(figures)}{left}")

    def on_note(self, note: str) -> None:
        self._print_line(note)

    def on_checkpoint(self, checkpoint: Path) -> None:
        mark_complete(checkpoint)


def stop_on_interrupt(stop: threading.Event) -> None:
    """Let Ctrl-C and SIGTERM end the run at its next step, with a checkpoint."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
