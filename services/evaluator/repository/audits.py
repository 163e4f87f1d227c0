"""Audits: the reigning champion before the gates, against the one before it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from shared.events import TrainingCompleted
from shared.ids import new_id
from shared.tables.deployer import RoutingGeneration
from shared.tables.evaluator import Evaluation
from shared.tables.trainer import Run

NO_RUN = UUID(int=0)
"""Stands for the training of a champion that was adopted."""


@dataclass(frozen=True)
class Reign:
    """Who is champion, since when, and who was before."""

    champion: str
    since: datetime
    predecessor: str


def load_reign(session: Session, family: str) -> Reign | None:
    """Return the reign of today; None without a champion, and for the first one, who is held against nobody."""
    version = RoutingGeneration.table["champion"]["version"].as_string()
    of_family = RoutingGeneration.family == family
    champion = session.scalar(select(version).where(of_family).order_by(RoutingGeneration.generation.desc()).limit(1))
    before = session.execute(
        select(RoutingGeneration.generation, version)
        .where(of_family, version != champion)
        .order_by(RoutingGeneration.generation.desc())
        .limit(1)
    ).first()
    if champion is None or before is None:
        return None
    since = session.scalar(
        select(func.min(RoutingGeneration.created_at)).where(of_family, RoutingGeneration.generation > before[0])
    )
    return None if since is None else Reign(champion, since, before[1])


def is_busy(session: Session) -> bool:
    """Tell whether an evaluation of either kind goes on."""
    return bool(session.scalar(select(exists().where(Evaluation.state != "completed"))))


def load_last_audit(session: Session) -> Evaluation | None:
    """Return the audit that was opened last."""
    return session.scalar(
        select(Evaluation).where(Evaluation.kind == "audit").order_by(Evaluation.created_at.desc()).limit(1)
    )


def save_audit(session: Session, reign: Reign, now: datetime, longest: timedelta) -> UUID:
    """Open an audit. It stands for no retrain request; its id takes that place."""
    audit_id = new_id()
    training = _load_training(session, reign, audit_id, now)
    session.add(
        Evaluation(
            evaluation_id=audit_id,
            request_id=audit_id,
            run_id=training.run_id,
            kind="audit",
            candidate_version=reign.champion,
            champion_version=reign.predecessor,
            training=msgspec.to_builtins(training),
            state="generating",
            created_at=now,
            deadline_at=now + longest,
        )
    )
    return audit_id


def _load_training(session: Session, reign: Reign, audit_id: UUID, now: datetime) -> TrainingCompleted:
    trained = Run.candidate_version == reign.champion, Run.state == "succeeded"
    run = session.scalar(select(Run).where(*trained).limit(1))
    return TrainingCompleted(
        request_id=audit_id,
        run_id=run.run_id if run else NO_RUN,
        outcome="succeeded",
        parent_version=reign.predecessor,
        dataset_sha256=run.dataset_sha256 if run else "",
        completed_at=(run.finished_at if run else None) or now,
        candidate_version=reign.champion,
        recipe_sha256=run.recipe_sha256 if run else None,
        weights_sha256=run.weights_sha256 if run else None,
    )
