"""On a schedule the champion stands before the gates once more, against the one before it. An audit changes nothing:
it is a row, a report and an alert."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.evaluator.metrics import AUDIT, AUDIT_OUTCOMES
from services.evaluator.repository.audits import is_busy, load_last_audit, load_reign, save_audit
from services.evaluator.settings import EvaluatorSettings
from shared.db import SessionFactory, lock_all
from shared.tables.evaluator import Evaluation

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class AuditHandler:
    sessions: SessionFactory
    family: str
    settings: EvaluatorSettings
    clock: Callable[[], datetime]

    def open_due(self) -> bool:
        """Open an audit when the champion has had none for so many days, and nothing else is judged; tell whether."""
        if not self.settings.audit_days:
            return False
        now = self.clock()
        with self.sessions() as session, session.begin():
            lock_all(session, ["audit"])
            reign, last = load_reign(session, self.family), load_last_audit(session)
            if reign is None or is_busy(session):
                return False
            since = max(reign.since, last.created_at) if last else reign.since
            if now < since + timedelta(days=self.settings.audit_days):
                return False
            longest = timedelta(seconds=self.settings.generation_deadline_seconds)
            audit_id = save_audit(session, reign, now, longest)
        logger.info("audit_opened", evaluation_id=str(audit_id), champion=reign.champion, against=reign.predecessor)
        return True

    def measure(self) -> None:
        """Show what the last audit of today's champion said; an earlier champion's is history."""
        with self.sessions() as session:
            reign, last = load_reign(session, self.family), load_last_audit(session)
        outcome = find_outcome(last) if last and reign and last.candidate_version == reign.champion else None
        for each in AUDIT_OUTCOMES:
            AUDIT.labels(each).set(each == outcome)


def find_outcome(audit: Evaluation) -> str | None:
    """Return the audit's verdict, `error` where something could not be measured, None while it goes on."""
    if audit.state != "completed" or audit.report is None:
        return None
    broken = any(gate.get("cause") == "error" for gate in audit.report["gates"])
    return "error" if broken and audit.verdict == "inconclusive" else audit.verdict
