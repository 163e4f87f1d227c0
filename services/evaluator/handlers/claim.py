"""A process's hold on an evaluation that it generates answers for, kept by heartbeat."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from services.evaluator.repository.evaluations import save_heartbeat
from shared.db import SessionFactory
from shared.heartbeat import Heartbeat
from shared.tables.evaluator import Evaluation

BEATS_PER_EXPIRY = 10
"""As many signs of life as this may fail, one after the other, before another process takes the evaluation."""


class Claim(Heartbeat):
    """Each sign of life tells how far the generation is."""

    def __init__(
        self, sessions: SessionFactory, evaluation: Evaluation, clock: Callable[[], datetime], expiry_seconds: float
    ) -> None:
        super().__init__(
            self._save_heartbeat,
            f"evaluation {evaluation.evaluation_id}",
            interval_seconds=expiry_seconds / BEATS_PER_EXPIRY,
            timeout_seconds=expiry_seconds,
        )
        self._sessions = sessions
        self._evaluation = evaluation
        self._clock = clock
        self._progress: dict[str, Any] = evaluation.progress or {}

    def report(self, progress: dict[str, Any]) -> None:
        """Remember how far the generation is; the next sign of life carries it."""
        self._progress = progress

    def _save_heartbeat(self) -> bool:
        evaluation = self._evaluation
        with self._sessions() as session, session.begin():
            return save_heartbeat(
                session, evaluation.evaluation_id, evaluation.claimed_by, self._clock(), self._progress
            )
