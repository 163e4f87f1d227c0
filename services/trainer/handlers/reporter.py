"""What a run inside the loop shows of itself while it trains."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from services.trainer.adapters.artifacts.checkpoints import mark_complete
from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.progress import (
    REFUSED_SHARE,
    add_note,
    calculate_seconds_left,
    derive_figures,
    read_refusals,
)
from services.trainer.domain.training import Interrupted
from services.trainer.handlers.claim import Claim
from services.trainer.ports import Mirror, NoMirror
from shared.registry import ModelRegistry

logger = structlog.get_logger(__name__)


class LoopReporter:
    """Passes on what the training method reports: to the claim, to the registry, and back from the claim."""

    def __init__(
        self,
        claim: Claim,
        registry: ModelRegistry,
        mlflow_run_id: str,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        *,
        notes: Sequence[str] = (),
        mirror: Mirror | None = None,
        keep: Callable[[Path], None] | None = None,
    ) -> None:
        """Report to the claim, the registry and the mirror.

        Args:
            notes: of earlier attempts.
            keep: stores a complete checkpoint where other machines find it.
        """
        self._claim = claim
        self._registry = registry
        self._mlflow_run_id = mlflow_run_id
        self._stop = stop
        self._clock = clock
        self._mirror = mirror or NoMirror()
        self._keep = keep
        self._first: tuple[int, float] | None = None
        self._first_tokens: tuple[float, float] | None = None
        self.progress: dict[str, Any] = {"notes": list(notes)} if notes else {}

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def _report(self, **progress: Any) -> None:
        self.progress = self.progress | progress
        self._claim.report(**progress)

    def on_phase(self, phase: str) -> None:
        self._report(phase=phase)
        self._claim.check()
        if self.stopping:
            raise Interrupted(f"while {phase}")

    def on_micro_step(self) -> None:
        self._claim.check()

    def on_step(self, step: int, total: int) -> None:
        now = self._clock()
        if self._first is None:  # the first step of an attempt is slower than the others
            self._first = (step, now)
        first_step, began = self._first
        left = calculate_seconds_left(step, total, first_step=first_step, seconds=now - began)
        pace = (step - first_step) / (now - began) if step > first_step and now > began else None
        self._report(
            step=step, total=total, seconds_left=None if left is None else round(left, 1), steps_per_second=pace
        )
        self._claim.check()

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Log metrics; a tracker that is away must not end a run, and a stale worker logs none."""
        self._claim.check()
        if "loss" in metrics:
            tokens_per_second = self._calculate_token_rate(metrics.get("num_tokens"))
            self._report(**derive_figures(metrics), tokens_per_second=tokens_per_second)
        if REFUSED_SHARE in metrics:
            self._report(refused_share=metrics[REFUSED_SHARE], refused_rows=read_refusals(metrics))
        for action in ("finish", "stop"):
            if f"guards/{action}" in metrics:
                self._report(guard=action)
        self._mirror.log(step, metrics)
        try:
            self._registry.log_metrics(self._mlflow_run_id, metrics, step)
        except Exception as error:
            logger.warning("metrics_not_logged", step=step, error=repr(error))

    def _calculate_token_rate(self, tokens: float | None) -> float | None:
        """Since this attempt's first logged step."""
        if tokens is None:
            return None
        now = self._clock()
        self._first_tokens = self._first_tokens or (tokens, now)
        counted, began = self._first_tokens
        return (tokens - counted) / (now - began) if now > began else None

    def on_note(self, note: str) -> None:
        self._report(notes=add_note(self.progress.get("notes", ()), note))
        logger.info("run_noted", note=note)

    def on_checkpoint(self, checkpoint: Path) -> None:
        with self._claim.locked():
            mark_complete(checkpoint)
        if self._keep is not None:
            self._keep(checkpoint)
        logger.info("checkpoint_saved", checkpoint=checkpoint.name)
