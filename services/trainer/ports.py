"""Ports of the trainer: the protocols that its adapters and handlers fulfil."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.launching.endings import RemoteRun
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import Point
from services.trainer.domain.training import Job, TrainingResult

LoadRecipe = Callable[[str], Recipe]
"""Loads a recipe by name. Raises: NotFound, InvalidRequest."""

MeasureKL = Callable[[Job, Mapping[Point, Path]], dict[Point, float]]
"""Measures the job's candidate against other checkpoints, in nats a token."""


class Enqueue(Protocol):
    """Wakes a worker for one more run. A worker that is woken twice for a run finds nothing to do."""

    def __call__(self, device: str | None, /) -> None:
        """Send the message. `device`: the kind of device that the run asks for."""


class RunReporter(Protocol):
    """What a training method reports to. Each call may end the attempt by raising."""

    def on_phase(self, phase: str) -> None:
        """Report `loading`, `reference`, `training`, `saving`. Raises: StaleClaim, Interrupted."""

    def on_step(self, step: int, total: int) -> None:
        """Report the end of an optimizer step. Raises: StaleClaim, Interrupted."""

    def on_micro_step(self) -> None:
        """Report the end of a micro-batch within a step. Raises: StaleClaim."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Report what the method logged."""

    def on_note(self, note: str) -> None:
        """Report what was done to the run and why; a few times in a run's life."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        """Make the checkpoint count, if the run is still ours; its files are on disk. Raises: StaleClaim."""

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop: save a checkpoint now, then end with `Interrupted`."""


class TrainingMethod(Protocol):
    """Trains what a job's recipe says and saves the candidate."""

    def __call__(self, job: Job, reporter: RunReporter) -> TrainingResult:
        """Train.

        Raises:
            TrainingFailed: the data cannot be used, or a guard stopped the run.
            OutOfMemory: fewer rows at a time may fit.
            Interrupted: the worker was told to stop; a checkpoint is there.
            StaleClaim: another worker has the run.
        """


class Launcher(Protocol):
    """An engine that starts `heliotrope train` on machines of its own, and shows what became of it.

    Each call may raise LauncherUnavailable, after which it may be repeated, or LauncherDenied. None takes longer than
    half a minute.
    """

    def start(self, order: LaunchOrder) -> str:
        """Start the order and return the handle of its job; one of that name that is there already is that job.

        Raises:
            QuotaReached: there is no room just now.
            LauncherRefused: the engine takes no such job.
        """

    def look(self, handle: str) -> RemoteRun:
        """Look what the job does; `gone` when the engine knows of none."""

    def read_log(self, handle: str) -> str:
        """Read the end of its log, of the machine that failed first where that is known; empty when there is none."""

    def cancel(self, handle: str) -> None:
        """Have the engine end the job of this handle, or of this order's name; harmless when it is over or gone."""


class Mirror(Protocol):
    """Shows runs in a second place; MLflow and the run's row are what counts.

    None of its calls raises, or holds a run up for more than a stated time.
    """

    def begin(self, run_id: str, name: str, config: Mapping[str, Any]) -> None:
        """Show a run from now on. The same id again, from whichever worker, goes on with the same run."""

    def describe(self, config: Mapping[str, Any]) -> None:
        """Add to the run's configuration."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Show the metrics of a step."""

    def end(self, outcome: str, facts: Mapping[str, Any]) -> None:
        """Close the run: `succeeded`, or anything else for the reason among the facts."""

    def leave(self) -> None:
        """Let go of the run. Unless it has ended, another worker, or a later start, goes on with it."""


class NoMirror:
    """Shows nothing."""

    def begin(self, run_id: str, name: str, config: Mapping[str, Any]) -> None:
        """Do nothing."""

    def describe(self, config: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Do nothing."""

    def end(self, outcome: str, facts: Mapping[str, Any]) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""
