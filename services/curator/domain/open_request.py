"""What to do about a request to retrain that is open."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

ROLLOUT_ENDS = frozenset({"champion", "rejected", "aborted", "rolled_back"})


@dataclass(frozen=True)
class Progress:
    """An open request, and how far the other services' tables say it has come."""

    deadline_at: datetime
    announced_at: datetime
    run_state: str | None = None
    run_reason: str | None = None
    verdict: str | None = None
    rollout_state: str | None = None
    candidate_version: str | None = None


@dataclass(frozen=True)
class Step:
    action: Literal["wait", "announce", "close"]
    outcome: str | None = None
    words: str = ""


def next_step(progress: Progress, now: datetime, announce_again_after: timedelta) -> Step:
    """The events that end a request may be lost; the rows they were made from are not.

    - its rollout has ended: close, as the rollout ended
    - its candidate did not pass: close with the verdict
    - its run failed or was cancelled: close with that
    - past its deadline: close as expired
    - nobody has taken it up for a while: announce it again
    """
    if progress.rollout_state in ROLLOUT_ENDS:
        return Step("close", progress.rollout_state, f"its rollout ended: {progress.rollout_state}")
    if progress.verdict in ("fail", "inconclusive"):
        return Step("close", progress.verdict, f"its evaluation ended: {progress.verdict}")
    if progress.run_state in ("failed", "cancelled"):
        return Step("close", progress.run_state, f"its training {progress.run_state}: {progress.run_reason or ''}")
    if now >= progress.deadline_at:
        return Step("close", "expired", f"past its deadline, {_describe(progress)}")
    if progress.run_state is None and now - progress.announced_at >= announce_again_after:
        return Step("announce", words="no training run has taken it up")
    return Step("wait")


def _describe(progress: Progress) -> str:
    if progress.rollout_state is not None:
        return f"its rollout was {progress.rollout_state.replace('_', ' ')}"
    if progress.verdict is not None:
        return "no rollout had begun"
    if progress.run_state == "succeeded":
        return "its candidate was not judged"
    return f"its training was {progress.run_state}" if progress.run_state else "no training had begun"
