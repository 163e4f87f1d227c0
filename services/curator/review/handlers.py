"""People look at what was set aside, and decide."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session

from services.curator.review import repository as review
from services.curator.weighing.repository import list_quarantined, load_quarantine_decisions, save_quarantine_decision
from shared.errors import NotFound
from shared.tables.quarantine import QuarantineDecision

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OpenCase:
    """Something in quarantine, with what was last decided about it."""

    subject_kind: str
    subject_id: str
    reason: str
    detail: dict[str, Any]
    found_at: datetime
    decision: QuarantineDecision | None


def list_open_quarantine(session: Session) -> list[OpenCase]:
    decided = {(row.subject_kind, row.subject_id): row for row in load_quarantine_decisions(session)}
    return [
        OpenCase(
            row.subject_kind,
            row.subject_id,
            row.reason,
            row.detail,
            row.found_at,
            decided.get((row.subject_kind, row.subject_id)),
        )
        for row in list_quarantined(session)
    ]


def decide_on(
    session: Session, kind: str, subject: str, decision: str, decided_by: str, reason: str, now: datetime
) -> QuarantineDecision:
    """Note a decision; deciding otherwise later is a new one.

    Raises:
        NotFound: nothing of that id is in quarantine, contested, or was decided on before.
    """
    waiting = list_quarantined(session)
    known = {(row.subject_kind, row.subject_id) for row in waiting}
    known |= {("event", key) for row in waiting for keys in row.detail.get("events", {}).values() for key in keys}
    known |= {(row.subject_kind, row.subject_id) for row in load_quarantine_decisions(session)}
    if (kind, subject) not in known and not (kind == "pair" and review.is_contested(session, subject)):
        raise NotFound(f"no {kind} {subject} is in quarantine or contested")
    row = save_quarantine_decision(
        session, subject_kind=kind, subject_id=subject, decision=decision, decided_by=decided_by, reason=reason, now=now
    )
    logger.info("quarantine_decided", kind=kind, subject=subject, decision=decision, by=decided_by)
    return row
