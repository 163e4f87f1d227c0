"""What is taken down of a training run: the time of each step, what was logged, and the most memory of each phase."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class Enough(Exception):
    """All that was to be measured has been; nothing needs to be saved."""


@dataclass
class Stopwatch:
    """A watch that a method reports to. `ends_at`: the step after which the run is broken off; None: it ends itself."""

    ends_at: int | None = None
    stopping: bool = False
    stop_at: int | None = None
    """After this step the worker is as if told to stop."""
    steps: list[float] = field(default_factory=list)
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    """Bytes of the GPU at most, by phase."""
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    references: list[float] = field(default_factory=list)
    """When each batch of the reference began."""
    _phase: str = ""
    _began: float = 0.0

    def on_phase(self, phase: str) -> None:
        if phase == "reference":
            self.references.append(time.monotonic())
        if phase != self._phase:
            self.end_phase()
            self._phase, self._began = phase, time.monotonic()

    def end_phase(self) -> None:
        import torch

        if not self._phase:
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self.peaks[self._phase] = max(self.peaks.get(self._phase, 0), peak)
        self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + time.monotonic() - self._began

    def on_step(self, step: int, total: int) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.steps.append(time.monotonic())
        self.stopping = step == self.stop_at
        self.after_step(step)

    def after_step(self, step: int) -> None:
        """Stop the watch for what is done between two steps."""

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        self.metrics.setdefault(step, {}).update(metrics)
        if step == self.ends_at and "loss" in metrics:
            raise Enough

    def on_micro_step(self) -> None:
        """Measure nothing."""

    def on_note(self, note: str) -> None:
        """Begin anew when a run goes on with fewer rows at a time."""
        self.notes.append(note)
        self.steps.clear()

    def on_checkpoint(self, checkpoint: Path) -> None:
        (checkpoint / "complete").touch()

    def list_figures(self, name: str) -> list[float]:
        """Return what was logged by this name, step after step."""
        return [logged[name] for _, logged in sorted(self.metrics.items()) if name in logged]
