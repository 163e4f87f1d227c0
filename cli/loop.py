"""What the loop is doing, read from the tables."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.tables.curator import Feedback, Interaction, Label, LoopSwitch, Pair, Prompt, RetrainRequestRow
from shared.tables.deployer import Rollout, RoutingGeneration, Vote
from shared.tables.evaluator import Comparison, Evaluation
from shared.tables.trainer import Run


def read_loop(session: Session) -> dict[str, Any]:
    """Read counts of what was gathered, and the newest request, run, evaluation and rollout."""
    routing = session.scalars(select(RoutingGeneration).order_by(RoutingGeneration.generation.desc()).limit(1)).first()
    switch = session.scalars(select(LoopSwitch)).first()
    return {
        "paused": bool(switch and switch.paused),
        "routing": routing.table if routing else None,
        "interactions": session.scalar(select(func.count()).select_from(Interaction)),
        "feedback": _count_by(session, Feedback.state),
        "pairs": _count_pairs(session),
        "labels": session.scalar(select(func.count()).select_from(Label)),
        "request": _read_request(session),
        "run": _read_run(session),
        "evaluation": _read_evaluation(session),
        "audit": _read_audit(session),
        "rollout": _read_rollout(session),
    }


def _count_by(session: Session, column: Any) -> dict[str, int]:
    return {str(value): count for value, count in session.execute(select(column, func.count()).group_by(column))}


def _count_pairs(session: Session) -> dict[str, int]:
    """Active pairs by split."""
    query = (
        select(Prompt.split, func.count())
        .join(Pair, Pair.prompt_hash == Prompt.prompt_hash)
        .where(Pair.state == "active")
        .group_by(Prompt.split)
    )
    return {split: count for split, count in session.execute(query)}  # noqa: C416 - a Row is not a pair to mypy


def _read_request(session: Session) -> dict[str, Any] | None:
    newest = select(RetrainRequestRow).order_by(RetrainRequestRow.requested_at.desc()).limit(1)
    if (row := session.scalars(newest).first()) is None:
        return None
    return {
        "request_id": str(row.request_id),
        "state": row.state,
        "outcome": row.outcome,
        "reasons": row.reasons,
        "dataset_sha256": row.dataset_sha256,
        "requested_at": row.requested_at.isoformat(),
    }


def _read_run(session: Session) -> dict[str, Any] | None:
    """Of the newest request: the run that goes on, else the one that began last, and how its other recipes' fare."""
    newest = select(Run.request_id).order_by(Run.created_at.desc()).limit(1).scalar_subquery()
    runs = session.scalars(select(Run).where(Run.request_id == newest).order_by(Run.recipe_position)).all()
    if not runs:
        return None
    row = max(runs, key=lambda run: (run.state == "running", run.started_at or run.created_at))
    return {
        "run_id": str(row.run_id),
        "state": row.state,
        "progress": row.progress,
        "reason": row.reason,
        "candidate_version": row.candidate_version,
        "recipe": row.recipe_name,
        "others": {run.recipe_name: run.state for run in runs if run is not row},
    }


def _read_evaluation(session: Session) -> dict[str, Any] | None:
    if (row := _load_latest(session, "candidate")) is None:
        return None
    comparisons = select(func.count(), func.count(Comparison.vote)).where(Comparison.evaluation_id == row.evaluation_id)
    asked, voted = session.execute(comparisons).one()
    return {
        "evaluation_id": str(row.evaluation_id),
        "state": row.state,
        "verdict": row.verdict,
        "progress": row.progress,
        "comparisons": asked,
        "votes": voted,
        "error_budget": row.generation.get("error_budget"),
    }


def _load_latest(session: Session, kind: str) -> Evaluation | None:
    latest = select(Evaluation).where(Evaluation.kind == kind).order_by(Evaluation.created_at.desc()).limit(1)
    return session.scalars(latest).first()


def _read_audit(session: Session) -> dict[str, Any] | None:
    """Read what the last audit of a champion said."""
    if (row := _load_latest(session, "audit")) is None:
        return None
    return {
        "evaluation_id": str(row.evaluation_id),
        "version": row.candidate_version,
        "against": row.champion_version,
        "state": row.state,
        "verdict": row.verdict,
        "opened_at": row.created_at.isoformat(),
    }


def _read_rollout(session: Session) -> dict[str, Any] | None:
    if (row := session.scalars(select(Rollout).order_by(Rollout.created_at.desc()).limit(1)).first()) is None:
        return None
    votes = select(Vote.arm, func.count()).where(Vote.rollout_id == row.rollout_id).group_by(Vote.arm)
    return {
        "rollout_id": str(row.rollout_id),
        "state": row.state,
        "candidate_version": row.candidate_version,
        "stage": row.stage,
        "votes": {arm: count for arm, count in session.execute(votes)},  # noqa: C416 - a Row is not a pair to mypy
        "summary": row.summary,
        "frozen_until": row.evidence.get("frozen_until"),
    }
