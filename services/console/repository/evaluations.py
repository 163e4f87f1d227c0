"""Evaluations and their reports."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.tables.evaluator import Evaluation

SUMMARY = (
    Evaluation.evaluation_id, Evaluation.candidate_version, Evaluation.champion_version, Evaluation.state,
    Evaluation.verdict, Evaluation.progress, Evaluation.created_at, Evaluation.deadline_at, Evaluation.completed_at,
    Evaluation.report["gates"].label("gates"),
)  # fmt: skip
"""Without prompts and answers, which are megabytes."""


def list_evaluations(session: Session, limit: int, before: tuple[datetime, str] | None) -> list[Any]:
    """Return the newest first."""
    rows = select(*SUMMARY).order_by(Evaluation.created_at.desc()).limit(limit)
    if before is not None:
        rows = rows.where(Evaluation.created_at < before[0])
    return list(session.execute(rows))


def load_evaluation(session: Session, evaluation_id: UUID) -> Evaluation | None:
    return session.get(Evaluation, evaluation_id)


def find_evaluation(session: Session, request_id: UUID) -> UUID | None:
    """Return the evaluation that a request led to."""
    return session.scalar(select(Evaluation.evaluation_id).where(Evaluation.request_id == request_id))
