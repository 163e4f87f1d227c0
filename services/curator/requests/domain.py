"""How a request to retrain ended, read from what the other services made of it."""

from dataclasses import dataclass

from shared.rollouts import FINAL_STATES


@dataclass(frozen=True)
class RequestProgress:
    """States of what a request led to; None where there is nothing yet."""

    run: str | None
    verdict: str | None
    rollout: str | None
    candidate_version: str | None


def derive_outcome(progress: RequestProgress) -> str | None:
    """Derive the outcome that closes the request, as the events would have named it; None while it goes on.

    - its rollout has ended: how
    - its candidate did not pass the evaluation: the verdict
    - its training failed or was cancelled: that
    """
    if progress.rollout is not None:
        return progress.rollout if progress.rollout in FINAL_STATES else None
    if progress.verdict in ("fail", "inconclusive"):
        return f"evaluation_{progress.verdict}"
    if progress.run in ("failed", "cancelled"):
        return f"training_{progress.run}"
    return None
