"""Requests to retrain: whether one would repeat another, and how one ended, read from what the others made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.rollouts import FINAL_STATES

ATTEMPTS = 2
"""Requests for one dataset, if none of them led to a model: the second is for a failure that passes by itself."""


@dataclass(frozen=True)
class EarlierRequest:
    """A request that was made for the same dataset, and whether a training run on it succeeded."""

    request_id: UUID
    trained: bool


def explain_repetition(earlier: Sequence[EarlierRequest]) -> str | None:
    """Say why another request for the same dataset would be in vain, or None.

    - a model was trained on it
    - it was asked for `ATTEMPTS` times, and no model came of it
    """
    trained = next((one for one in earlier if one.trained), None)
    if trained is not None:
        return f"a model was trained on the same rows for request {trained.request_id}"
    if len(earlier) >= ATTEMPTS:
        return f"{len(earlier)} requests for the same rows led to no model"
    return None


@dataclass(frozen=True)
class RequestProgress:
    """States of what a request led to; None where there is nothing yet."""

    runs: Sequence[str]
    verdict: str | None
    rollout: str | None
    candidate_version: str | None


def derive_outcome(progress: RequestProgress) -> str | None:
    """Derive the outcome that closes the request, as the events would have named it; None while it goes on.

    - its rollout has ended: how
    - its candidate did not pass the evaluation: the verdict
    - all its trainings failed or were cancelled: that
    """
    if progress.rollout is not None:
        return progress.rollout if progress.rollout in FINAL_STATES else None
    if progress.verdict in ("fail", "inconclusive"):
        return f"evaluation_{progress.verdict}"
    return derive_training_outcome(progress.runs)


def derive_training_outcome(runs: Sequence[str]) -> str | None:
    """Derive the outcome of a request of which all runs, by their states, came to nothing; None where one may not."""
    if not runs or any(state not in ("failed", "cancelled") for state in runs):
        return None
    return "training_failed" if "failed" in runs else "training_cancelled"
