"""Run the drift monitor: close a request that is over, run every detector, decide, and perhaps request a retraining."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from services.curator.config.metrics import (
    DETECTOR_FIGURE,
    DETECTOR_THRESHOLD,
    DETECTOR_VALUE,
    DETECTOR_WANTS,
    RETRAIN_DECISIONS,
)
from services.curator.monitor import repository
from services.curator.monitor.domain.detectors import DetectorResult, MonitorReport, describe_health, describe_opinion
from services.curator.monitor.domain.drift import OpinionRules, assess_opinion
from services.curator.monitor.domain.policy import (
    MONTH,
    Decision,
    RetrainLimits,
    Situation,
    assess_schedule,
    assess_volume,
    decide,
)
from services.curator.monitor.ports import RequestRetrain
from services.curator.monitor.repository import RequestHistory
from services.curator.requests import repository as requests
from services.curator.requests.handlers import close_ended_request
from services.curator.requests.repository import Champion
from shared.db import SessionFactory
from shared.errors import Conflict, InvalidRequest
from shared.events import Reason

logger = structlog.get_logger(__name__)

NOT_MEASURED = float("nan")


@dataclass(frozen=True)
class MonitorRules:
    opinion: OpinionRules
    limits: RetrainLimits
    volume_pairs: int
    schedule: timedelta | None
    window: timedelta


@dataclass(frozen=True)
class Monitor:
    sessions: SessionFactory
    family: str
    rules: MonitorRules
    request_retrain: RequestRetrain
    clock: Callable[[], datetime]

    def look(self) -> MonitorReport:
        """Run every detector, decide, perhaps request a retraining, and leave the figures in `curator.detectors`."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            close_ended_request(session)
        with self.sessions() as session:
            situation, results = self._assess(session, now)
        decision = decide(situation, self.rules.limits, now)
        if decision.action == "request":
            decision = self._request(situation.reasons, decision, now)
        elif decision.action == "shadow":
            logger.info("retrain_wanted_in_shadow", summary=decision.summary)
        report = MonitorReport(results, decision)
        with self.sessions() as session, session.begin():
            save_report(session, report, now)
        return report

    def _assess(self, session: Session, now: datetime) -> tuple[Situation, tuple[DetectorResult, ...]]:
        champion = requests.load_champion(session, self.family)
        history = repository.load_request_history(session, now - MONTH)
        baseline = repository.load_baseline(session)
        pairs, new_pairs = repository.count_pairs(session, baseline)
        new_labels = repository.count_labels(session, baseline)
        results = self._run_detectors(session, champion, history, (new_pairs, new_labels), now)
        situation = Situation(
            [result.reason for result in results if result.reason],
            champion.version if champion else None,
            requests.is_paused(session),
            history.is_open,
            history.last_closed_at,
            history.this_month,
            pairs,
            new_pairs,
        )
        return situation, results

    def _run_detectors(
        self,
        session: Session,
        champion: Champion | None,
        history: RequestHistory,
        new: tuple[int, int],
        now: datetime,
    ) -> tuple[DetectorResult, ...]:
        rules, (new_pairs, new_labels) = self.rules, new
        summary, reason = assess_volume(new_pairs, new_labels, rules.volume_pairs)
        results = [
            self._detect_opinion_drift(session, champion, history, now),
            DetectorResult("volume", summary, new_pairs, rules.volume_pairs, reason, {"new_labels": new_labels}),
            describe_health(repository.measure_health(session, now, rules.window)),
        ]
        if rules.schedule:
            reason = assess_schedule(history.last_requested_at, rules.schedule, now)
            summary = reason.summary if reason else "not due yet"
            results.append(DetectorResult("schedule", summary, threshold=rules.schedule.total_seconds(), reason=reason))
        return tuple(results)

    def _detect_opinion_drift(
        self, session: Session, champion: Champion | None, history: RequestHistory, now: datetime
    ) -> DetectorResult:
        if champion is None:
            return DetectorResult("opinion", "no champion is known")
        votes = repository.load_votes(session, champion)
        opinion = assess_opinion(votes, self.rules.opinion, history.last_opinion_at)
        rate = repository.measure_response_rate(session, champion, now - self.rules.window)
        return describe_opinion(opinion, self.rules.opinion.run_length, rate)

    def _request(self, reasons: Sequence[Reason], decision: Decision, now: datetime) -> Decision:
        try:
            with self.sessions() as session, session.begin():
                self.request_retrain(session, reasons=list(reasons), now=now)
        except (Conflict, InvalidRequest) as refusal:
            logger.info("retrain_refused", detail=refusal.detail, reasons=decision.summary)
            return Decision("wait", f"{refusal.detail}, although: {decision.summary}")
        return decision


def save_report(session: Session, report: MonitorReport, now: datetime) -> None:
    """Save one row for each detector, and one for the decision."""
    for result in report.results:
        state: dict[str, object] = {
            "summary": result.summary,
            "value": result.value,
            "threshold": result.threshold,
            "wants_retraining": result.reason is not None,
            "figures": result.figures,
        }
        repository.save_detector(session, result.name, state, now)
    decision = report.decision
    repository.save_detector(session, "decision", {"summary": decision.summary, "action": decision.action}, now)


def export_report(report: MonitorReport) -> None:
    """Show a report's figures; what cannot be measured now is NaN."""
    for result in report.results:
        DETECTOR_VALUE.labels(result.name).set(NOT_MEASURED if result.value is None else result.value)
        DETECTOR_WANTS.labels(result.name).set(result.reason is not None)
        if result.threshold is not None:
            DETECTOR_THRESHOLD.labels(result.name).set(result.threshold)
        for figure, value in result.figures.items():
            if not isinstance(value, str):
                DETECTOR_FIGURE.labels(result.name, figure).set(NOT_MEASURED if value is None else value)
    RETRAIN_DECISIONS.labels(report.decision.action).inc()
