"""A second place where people see a run; MLflow and the run's row are what counts."""

from collections.abc import Mapping
from typing import Any, Protocol

from services.trainer.domain.verdict import Metrics


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
