"""Run the drift monitor: close a request that is over, run every detector, decide, and perhaps request a retraining."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from services.curator.monitor.domain.detectors import (
    DetectorResult,
    MonitorReport,
    describe_health,
    describe_opinion,
    describe_volume,
)
from services.curator.monitor.domain.drift import OpinionRules, assess_opinion
from services.curator.monitor.domain.policy import (
    MONTH,
    Decision,
    RetrainLimits,
    Situation,
    assess_schedule,
    decide,
)
from services.curator.monitor.domain.volume import Basis, Count, Volume, count_new, derive_bound
from services.curator.monitor.ports import PreviewDataset, RequestRetrain
from services.curator.monitor.repository import RequestHistory
from services.curator.requests import repository as requests
from services.curator.requests.handlers import UnchangedDataset, close_ended_request
from services.curator.requests.repository import Champion
from shared.db import SessionFactory
from shared.errors import Conflict, InvalidRequest

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
class Observation:
    """What a look sees, but for how much is new."""

    champion: Champion | None
    history: RequestHistory
    paused: bool
    basis: Basis
    results: tuple[DetectorResult, ...]


@dataclass
class Memory:
    """What a look leaves to the next one."""

    count: Count | None = None
    refused: tuple[Count, str] | None = None
    """The count that led to a request that was refused, and why: what the same count would lead to again."""


@dataclass(frozen=True)
class Monitor:
    sessions: SessionFactory
    family: str
    rules: MonitorRules
    request_retrain: RequestRetrain
    preview_dataset: PreviewDataset
    clock: Callable[[], datetime]
    memory: Memory = field(default_factory=Memory)

    def look(self) -> MonitorReport:
        """Run every detector, decide, perhaps request a retraining, and leave the figures in `curator.detectors`."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            close_ended_request(session)
        with self.sessions() as session:
            observed = self._observe(session, now)
            volume = self._bound_volume(session, observed.basis)
        report = self._assess(observed, volume, now)
        if report.decision.action != "wait" and not volume.exact:
            report = self._count_and_assess(observed, report, now)
        if report.decision.action == "request":
            report = replace(report, decision=self._request(report, now))
        elif report.decision.action == "shadow":
            logger.info("retrain_wanted_in_shadow", summary=report.decision.summary)
        with self.sessions() as session, session.begin():
            save_report(session, report, now)
        return report

    def _observe(self, session: Session, now: datetime) -> Observation:
        champion = requests.load_champion(session, self.family)
        history = repository.load_request_history(session, now - MONTH)
        basis = repository.load_basis(session, champion.version if champion else None)
        results = self._run_detectors(session, champion, history, now)
        return Observation(champion, history, requests.is_paused(session), basis, results)

    def _run_detectors(
        self, session: Session, champion: Champion | None, history: RequestHistory, now: datetime
    ) -> tuple[DetectorResult, ...]:
        rules = self.rules
        results = [
            self._detect_opinion_drift(session, champion, history, now),
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

    def _bound_volume(self, session: Session, basis: Basis) -> Volume:
        count = self.memory.count
        if count is None or count.basis != basis:
            return repository.measure_stored(session, basis.baseline)
        return derive_bound(count, *repository.count_stored_since(session, count.sequence))

    def _assess(self, observed: Observation, volume: Volume, now: datetime) -> MonitorReport:
        detected = describe_volume(volume, self.rules.volume_pairs)
        results = (detected, *observed.results)
        history = observed.history
        situation = Situation(
            [result.reason for result in results if result.reason],
            observed.basis.parent_version,
            observed.paused,
            history.is_open,
            history.last_closed_at,
            history.this_month,
            volume.pairs,
            volume.new_pairs,
        )
        return MonitorReport(results, decide(situation, self.rules.limits, now))

    def _count_and_assess(self, observed: Observation, bounded: MonitorReport, now: datetime) -> MonitorReport:
        """Count what would be frozen, now that it matters; a moment later if counting took long and was just done."""
        last = self.memory.count
        if last is not None and last.basis == observed.basis and not last.is_due_again(now):
            decision = Decision("wait", f"what is new was counted a moment ago, although: {bounded.decision.summary}")
            return replace(bounded, decision=decision)
        self.memory.count = count = self._count(observed.basis, now)
        return self._assess(observed, count.volume, now)

    def _count(self, basis: Basis, now: datetime) -> Count:
        assert basis.parent_version is not None  # without a champion nothing is ever asked for
        with self.sessions() as session, session.begin():
            preview = self.preview_dataset(session, parent_version=basis.parent_version, now=now)
            volume = count_new(preview, repository.load_held(session, basis.baseline))
        return Count(basis, preview.sequence, volume, now, self.clock() - now)

    def _request(self, report: MonitorReport, now: datetime) -> Decision:
        decision, count = report.decision, self.memory.count
        if self.memory.refused is not None and self.memory.refused[0] == count:
            return Decision("wait", f"{self.memory.refused[1]}, although: {decision.summary}")
        reasons = [result.reason for result in report.results if result.reason]
        try:
            with self.sessions() as session, session.begin():
                self.request_retrain(session, reasons=reasons, now=now)
        except (Conflict, InvalidRequest) as refusal:
            if count is not None and isinstance(refusal, UnchangedDataset | InvalidRequest):
                self.memory.refused = count, refusal.detail
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
