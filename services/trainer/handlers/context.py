"""What a worker needs to execute runs, and what one attempt at a run has at hand."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from services.trainer.adapters.artifacts.run_storage import RunStorage
from services.trainer.domain.training import NO_FUNCTIONS, Job, RewardRules
from services.trainer.handlers.claim import Claim
from services.trainer.handlers.remote_files import Offer
from services.trainer.ports import MeasureKL, Mirror, NoMirror, TrainingMethod
from shared.artifacts import locate_folder
from shared.db import SessionFactory
from shared.registry import ModelRegistry, ModelVersion
from shared.signing import Signer
from shared.tables.trainer import Run


@dataclass(frozen=True)
class WorkerContext:
    """The connections, methods and settings of a worker process."""

    sessions: SessionFactory
    registry: ModelRegistry
    methods: Mapping[str, TrainingMethod]
    """The training methods, by name."""
    measure_kl: MeasureKL
    runs_folder: Path
    """Where each run keeps its attempts: `<run>/<fencing token>/`."""
    worker: str
    code_version: str
    topic_prefix: str
    heartbeat_seconds: float
    heartbeat_timeout: timedelta
    stop: threading.Event
    """Set when the worker was told to stop."""
    storage: RunStorage
    """Models, checkpoints and candidates, where other machines find them."""
    fetch_dataset: Callable[[str], Path] = locate_folder
    """From a dataset's address to a local folder."""
    mirror: Mirror = field(default_factory=NoMirror)
    signer: Signer | None = None
    """Signs what is registered; without one, versions stay unsigned."""
    rewards: RewardRules = NO_FUNCTIONS
    offers: Mapping[str, Offer] = field(default_factory=dict)
    """The launchers that recipes may name."""
    launcher: str | None = None
    """Of recipes that name none; None: they train in this process."""
    launcher_poll_seconds: float = 5.0
    registry_patience: timedelta = timedelta(seconds=60)
    """How long calls to the registry are repeated before the run is handed back."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run, by the worker that holds the claim."""

    run: Run
    """As it was claimed."""
    claim: Claim
    job: Job
    parent: ModelVersion
    mlflow_run_id: str
