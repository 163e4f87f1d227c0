"""What the newest snapshot set aside, and what people decided about it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from shared.tables.quarantine import Quarantined, QuarantineDecision


def load_quarantine_decisions(session: Session) -> list[QuarantineDecision]:
    """The newest decision on each subject, by subject."""
    newest = (
        select(QuarantineDecision)
        .ext(distinct_on(QuarantineDecision.subject_kind, QuarantineDecision.subject_id))
        .order_by(QuarantineDecision.subject_kind, QuarantineDecision.subject_id, QuarantineDecision.decision_id.desc())
    )
    return list(session.scalars(newest))


def save_quarantine_decision(
    session: Session, *, subject_kind: str, subject_id: str, decision: str, decided_by: str, reason: str, now: datetime
) -> QuarantineDecision:
    """Append a decision; it stands from the next snapshot on."""
    row = QuarantineDecision(
        subject_kind=subject_kind,
        subject_id=subject_id,
        decision=decision,
        decided_by=decided_by,
        decided_at=now,
        reason=reason,
    )
    session.add(row)
    session.flush()
    return row


def replace_quarantined(session: Session, rows: Iterable[dict[str, Any]], now: datetime) -> None:
    """What a snapshot set aside: dicts with `subject_kind`, `subject_id`, `reason` and `detail`."""
    session.execute(delete(Quarantined))
    if values := [{**row, "found_at": now} for row in rows]:
        session.execute(insert(Quarantined), values)


def list_quarantined(session: Session) -> list[Quarantined]:
    return list(session.scalars(select(Quarantined).order_by(Quarantined.subject_kind, Quarantined.subject_id)))
