"""Drift, training, and the audit log."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.console.repository.counting import count_up_to
from shared.tables import curator, deployer, evaluator, trainer
from shared.tables.deployer import AuditEntry, RoutingGeneration
from shared.tables.drift import DriftWindow
from shared.tables.trainer import Run

BACKLOG = 1_000
SCANNED = 2_000
"""Audit entries that one search looks at."""


def list_windows(session: Session, detector: str, limit: int) -> list[DriftWindow]:
    """Return the newest windows first, of one detector or of all."""
    rows = select(DriftWindow).order_by(DriftWindow.closed_at.desc()).limit(limit)
    return list(session.scalars(rows.where(DriftWindow.detector == detector) if detector else rows))


def list_runs(session: Session, state: str, limit: int, before: tuple[datetime, str] | None) -> list[Run]:
    """Return the newest first."""
    rows = select(Run).order_by(Run.created_at.desc()).limit(limit)
    if state:
        rows = rows.where(Run.state == state)
    return list(session.scalars(rows.where(Run.created_at < before[0]) if before else rows))


def load_run(session: Session, run_id: UUID) -> Run | None:
    return session.get(Run, run_id)


def list_audit(
    session: Session, actor: str, action: str, before: int | None, limit: int
) -> tuple[list[AuditEntry], int | None]:
    """Return entries, the newest first, and the number before which the next page begins; None at the end."""
    window = select(AuditEntry.sequence).order_by(AuditEntry.sequence.desc())
    if before is not None:
        window = window.where(AuditEntry.sequence < before)
    looked = window.limit(SCANNED).subquery()
    rows = select(AuditEntry).join(looked, looked.c.sequence == AuditEntry.sequence)
    if actor:
        rows = rows.where(AuditEntry.actor == actor)
    if action:
        rows = rows.where(AuditEntry.action == action)
    found = list(session.scalars(rows.order_by(AuditEntry.sequence.desc()).limit(limit + 1)))
    if len(found) > limit:
        return found[:limit], found[limit - 1].sequence
    edge = session.scalar(select(looked.c.sequence).offset(SCANNED - 1).limit(1))
    return found, edge


def measure_backlogs(session: Session) -> list[tuple[str, int, datetime | None, int]]:
    """Return, by schema: events that wait for the broker, since when, and records that it refused."""
    measured = []
    for module in (curator, trainer, evaluator, deployer):
        waiting = count_up_to(session, select(module.Outbox.sequence), BACKLOG)
        oldest = session.scalar(select(module.Outbox.created_at).order_by(module.Outbox.sequence).limit(1))
        refused = count_up_to(session, select(module.Refused.sequence), BACKLOG)
        measured.append((module.__name__.rpartition(".")[2], waiting, oldest, refused))
    return measured


def load_routing_history(session: Session, family: str, limit: int) -> list[Any]:
    """Return the newest routing tables first."""
    rows = select(RoutingGeneration).where(RoutingGeneration.family == family)
    return list(session.scalars(rows.order_by(RoutingGeneration.generation.desc()).limit(limit)))


def load_schema(session: Session) -> str:
    """Return the version of Postgres."""
    return str(session.scalar(select(func.version()))).split(" on ")[0]
