"""Ports of the trainer: the protocols that its adapters fulfil."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.training import Job, Trained


class Mirror(Protocol):
    """Shows one run after another. None of its calls raises, or holds a run up for more than a stated time."""

    def begin(self, run_id: str, name: str, config: Mapping[str, Any]) -> None:
        """The same id again, from whichever worker, goes on with the same run."""

    def describe(self, config: Mapping[str, Any]) -> None:
        """Say more of how the run is made."""

    def log(self, step: int, metrics: Metrics) -> None: ...

    def end(self, outcome: str, facts: Mapping[str, Any]) -> None:
        """The run is over: `succeeded`, or anything else for the reason among the facts."""

    def leave(self) -> None:
        """This worker does no more on the run. Unless it has ended, another worker, or a later start, goes on."""


class NoMirror:
    def begin(self, run_id: str, name: str, config: Mapping[str, Any]) -> None:
        """Nobody looks."""

    def describe(self, config: Mapping[str, Any]) -> None:
        """Nobody looks."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Nobody looks."""

    def end(self, outcome: str, facts: Mapping[str, Any]) -> None:
        """Nobody looks."""

    def leave(self) -> None:
        """Nobody looks."""


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
