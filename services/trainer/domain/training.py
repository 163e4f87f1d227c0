"""What a training method is given and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from services.trainer.domain.planning.places import ALONE, Place
from services.trainer.domain.recipe.schema import Recipe
from shared.errors import HeliotropeError

Cause = Literal["setup", "guard", "memory", "disk", "deadline", "registration", "launcher", "error"]
"""Why a run failed, for counting: its recipe, dataset or reward model; a guard, or drift from the parent; a shortage;
its time was up; what came after training; an engine that refused it, lost it too often, or its limits; anything
else."""
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


class CandidateNotRegistered(HeliotropeError):
    """Something after training failed. The trained candidate is kept."""

    title = "Candidate not registered"


@dataclass(frozen=True)
class RewardRules:
    """What a deployment says of reward functions."""

    functions: frozenset[str] = frozenset()
    """Those that recipes may name, as `package:entry point`."""
    seconds: float = 60.0
    """What one may take to start, and for each batch of answers."""
    readable: tuple[str, ...] = ()
    """Folders that they may read besides installed packages."""
    writable: tuple[str, ...] = ()
    """Folders that they may write, and read, besides one of their own."""


NO_FUNCTIONS = RewardRules()


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
    """Where the trained model goes: a plain checkpoint folder, or an adapter's."""
    parent_uri: str | None = None
    """The parent's address. Where it is given, a LoRA run saves its adapter alone; else merged into whole weights."""
    parent_sha256: str | None = None
    """The hash that the parent's files are known by, if they are."""
    rewards: RewardRules = NO_FUNCTIONS
    place: Place = ALONE
    """Which of the run's machines this is."""
    weights: Path | None = None
    """Where the weights of the parent's base lie in the run's own format; None: where they always do."""


@dataclass(frozen=True)
class TrainingResult:
    """What came out."""

    steps: int
    weights_sha256: str
    summary: str
    """Why it ended: all steps taken, or what a guard said."""
    pairs: int
    refused: int
    """Rows that could not be trained on."""
    refused_rows: Mapping[str, int] = field(default_factory=dict)
    """Those by reason; see `services.trainer.domain.refusals`."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """What the outcome came from besides parent, dataset and recipe: what scored its answers."""

    @property
    def refused_share(self) -> float:
        """Of the dataset's rows."""
        return self.refused / max(self.pairs + self.refused, 1)
