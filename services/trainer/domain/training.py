"""What a training method is given and what it gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from services.trainer.domain.recipe import Recipe
from services.trainer.domain.verdict import Metrics
from shared.errors import HeliotropeError

Cause = Literal["setup", "guard", "memory", "disk", "deadline", "error"]
"""Why a run failed, for counting: its recipe, dataset or reward model; a guard, or drift from the parent; a shortage;
its time was up; anything else."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


class TrainingFailed(HeliotropeError):
    """The run cannot succeed. Trying again would not help."""

    title = "Training failed"

    def __init__(self, detail: str, cause: Cause = "setup") -> None:
        super().__init__(detail)
        self.cause: Cause = cause


class OutOfMemory(HeliotropeError):
    """So many rows do not fit; fewer may."""

    title = "Out of memory"


class Interrupted(HeliotropeError):
    """The worker was told to stop; the run goes on elsewhere from its last checkpoint."""

    title = "Interrupted"


@dataclass(frozen=True)
class Job:
    """One attempt at a run."""

    recipe: Recipe
    parent: Path
    """The parent's checkpoint folder."""
    dataset: Path
    """Folder with `train.parquet` and `validation.parquet`."""
    checkpoints: Path
    """Where this attempt keeps its checkpoints."""
    resume_from: Path | None
    candidate: Path
    """Where the trained model goes: a plain checkpoint folder."""


@dataclass(frozen=True)
class Trained:
    """What came out."""

    steps: int
    weights_sha256: str
    summary: str
    """Why it ended: all steps taken, or what a guard said."""
    pairs: int
    refused: int
    """Pairs left out because truncation makes their sides identical, or cuts both off."""


class Watch(Protocol):
    """What a method reports to while it trains; each call may end the attempt by raising."""

    def on_phase(self, phase: str) -> None:
        """`loading`, `reference`, `training`, `saving`. Raises: StaleClaim, Interrupted."""

    def on_step(self, step: int, total: int) -> None:
        """After each step. Raises: StaleClaim, Interrupted."""

    def on_micro_step(self) -> None:
        """Between the parts of a step. Raises: StaleClaim."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """What the method logged."""

    def on_note(self, note: str) -> None:
        """What was done to the run and why, in words; a few in a run's life."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        """The files are there: make them count, if the run is still ours. Raises: StaleClaim."""

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop: save a checkpoint now, then end with `Interrupted`."""


class Train(Protocol):
    """A training method at work."""

    def __call__(self, job: Job, watch: Watch) -> Trained:
        """Raises: TrainingFailed, OutOfMemory, Interrupted, StaleClaim."""
