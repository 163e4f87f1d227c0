"""A reporter that shows nothing."""

from pathlib import Path
from typing import Any


class QuietReporter:
    """Remembers what happened; `stop_at` is the step after which the worker is told to stop."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.stopping = False
        self.steps: list[int] = []
        self.phases: list[str] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.checkpoints: list[Path] = []
        self.notes: list[str] = []

    def on_phase(self, phase: str) -> None:
        self.phases.append(phase)

    def on_step(self, step: int, total: int) -> None:
        self.steps.append(step)
        self.stopping = step == self.stop_at

    def on_micro_step(self) -> None:
        """Nothing to check."""

    def on_metrics(self, step: int, metrics: Any) -> None:
        self.metrics.append((step, dict(metrics)))

    def on_note(self, note: str) -> None:
        self.notes.append(note)

    def on_checkpoint(self, checkpoint: Path) -> None:
        self.checkpoints.append(checkpoint)
