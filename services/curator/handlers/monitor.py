"""The drift monitor: close a request that is over, read every detector, decide, and perhaps ask."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy.orm import Session

from services.curator.domain.drift import OpinionRules, assess_opinion
from services.curator.domain.open_request import derive_outcome
from services.curator.domain.policy import MONTH, Decision, Limits, Situation, assess_schedule, assess_volume, decide
from services.curator.domain.readings import Reading, Report, read_health, read_opinion
from services.curator.handlers.control import close_request
from services.curator.repository import monitor as repository
from services.curator.repository import requests
from services.curator.repository.monitor import Champion, RequestHistory
from shared.db import SessionFactory
from shared.errors import Conflict, InvalidRequest
from shared.events import Reason
from shared.tables.curator import RetrainRequestRow

logger = structlog.get_logger(__name__)


class Ask(Protocol):
    """Opens a request in the caller's transaction.

    Raises:
        Conflict: the loop is paused, a request is open, or no champion is known.
        InvalidRequest: there is nothing to train on.
    """

    def __call__(self, session: Session, *, reasons: list[Reason], now: datetime) -> RetrainRequestRow: ...


@dataclass(frozen=True)
class Rules:
    opinion: OpinionRules
    limits: Limits
    volume_pairs: int
    schedule: timedelta | None
    window: timedelta


@dataclass(frozen=True)
class Monitor:
    sessions: SessionFactory
    family: str
    rules: Rules
    ask: Ask
    clock: Callable[[], datetime]

    def look(self) -> Report:
        """Read every detector, decide, ask if so decided, and leave the figures in `curator.detectors`."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            close_ended_request(session)
        with self.sessions() as session:
            champion = repository.load_champion(session, self.family)
            history = repository.load_history(session, now - MONTH)
            baseline = repository.load_baseline(session)
            pairs, new_pairs = repository.count_pairs(session, baseline)
            new_labels = repository.count_labels(session, baseline)
            paused = requests.is_paused(session)
            readings = self._read(session, champion, history, (new_pairs, new_labels), now)
        reasons = [reading.reason for reading in readings if reading.reason]
        situation = Situation(
            reasons,
            champion.version if champion else None,
            paused,
            history.is_open,
            history.last_closed_at,
            history.this_month,
            pairs,
            new_pairs,
        )
        decision = decide(situation, self.rules.limits, now)
        if decision.action == "request":
            decision = self._request(reasons, decision, now)
        elif decision.action == "shadow":
            logger.info("retrain_wanted_in_shadow", summary=decision.summary)
        report = Report(readings, decision)
        with self.sessions() as session, session.begin():
            save_report(session, report, now)
        return report

    def _read(
        self,
        session: Session,
        champion: Champion | None,
        history: RequestHistory,
        new: tuple[int, int],
        now: datetime,
    ) -> tuple[Reading, ...]:
        rules, (new_pairs, new_labels) = self.rules, new
        summary, reason = assess_volume(new_pairs, new_labels, rules.volume_pairs)
        readings = [
            self._read_opinion(session, champion, history, now),
            Reading("volume", summary, new_pairs, rules.volume_pairs, reason, {"new_labels": new_labels}),
            read_health(repository.measure_health(session, now, rules.window)),
        ]
        if rules.schedule:
            reason = assess_schedule(history.last_requested_at, rules.schedule, now)
            summary = reason.summary if reason else "not due yet"
            readings.append(Reading("schedule", summary, threshold=rules.schedule.total_seconds(), reason=reason))
        return tuple(readings)

    def _read_opinion(
        self, session: Session, champion: Champion | None, history: RequestHistory, now: datetime
    ) -> Reading:
        if champion is None:
            return Reading("opinion", "no champion is known")
        votes = repository.load_votes(session, champion)
        opinion = assess_opinion(votes, self.rules.opinion, history.last_opinion_at)
        rate = repository.measure_response_rate(session, champion, now - self.rules.window)
        return read_opinion(opinion, self.rules.opinion.run_length, rate)

    def _request(self, reasons: list[Reason], decision: Decision, now: datetime) -> Decision:
        try:
            with self.sessions() as session, session.begin():
                self.ask(session, reasons=reasons, now=now)
        except (Conflict, InvalidRequest) as refusal:
            logger.info("retrain_refused", detail=refusal.detail, reasons=decision.summary)
            return Decision("wait", f"{refusal.detail}, although: {decision.summary}")
        return decision


def save_report(session: Session, report: Report, now: datetime) -> None:
    """One row for each detector, and one for the decision."""
    for reading in report.readings:
        state: dict[str, object] = {
            "summary": reading.summary,
            "value": reading.value,
            "threshold": reading.threshold,
            "wants_retraining": reading.reason is not None,
            "figures": reading.figures,
        }
        repository.save_detector(session, reading.name, state, now)
    decision = report.decision
    repository.save_detector(session, "decision", {"summary": decision.summary, "action": decision.action}, now)


def close_ended_request(session: Session) -> str | None:
    """Close the open request if the other services' rows say that it is over: the event that says so may be lost.

    Returns:
        Its outcome, if it was closed.
    """
    found = repository.load_open_request(session)
    if found is None:
        return None
    request_id, progress = found
    outcome = derive_outcome(progress)
    if outcome is not None:
        close_request(session, request_id, outcome, progress.candidate_version)
    return outcome
