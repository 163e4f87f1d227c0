"""Run the drift monitor: close a request that is over, run every detector, decide, and perhaps request a retraining."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from services.curator.datasets.repository import load_last_sequence
from services.curator.monitor.domain.detectors import (
    DetectorResult,
    MonitorReport,
    describe_health,
    describe_opinion,
    describe_prompts,
    describe_volume,
)
from services.curator.monitor.domain.policy import (
    MONTH,
    Decision,
    RetrainLimits,
    Situation,
    assess_schedule,
    decide,
)
from services.curator.monitor.domain.volume import Basis, Count, Volume, count_new, derive_bound
from services.curator.monitor.handlers.reports import save_report
from services.curator.monitor.handlers.windows import OpinionWatch, PromptWatch, Reign
from services.curator.monitor.ports import PreviewDataset, RequestRetrain
from services.curator.monitor.repository import loop as repository
from services.curator.monitor.repository.loop import RequestHistory
from services.curator.monitor.repository.windows import forget_windows
from services.curator.requests import repository as requests
from services.curator.requests.handlers import UnchangedDataset, close_ended_request
from services.curator.requests.repository import Champion
from shared.db import SessionFactory, wait_for_holders
from shared.errors import Conflict, InvalidRequest
from shared.user_stores import EVIDENCE_LOCK

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class MonitorRules:
    opinion: OpinionWatch
    prompts: PromptWatch
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

    bound: Count | None = None
    """Everything stored that the baseline does not hold, measured once for each basis."""
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
        self._close_windows(now)
        with self.sessions() as session:
            observed = self._observe(session, now)
            volume = self._bound_volume(session, observed.basis, now)
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

    def _close_windows(self, now: datetime) -> None:
        """Close what is over, each detector's in a transaction of its own: the next look goes on where it ends."""
        for watch in (self.rules.opinion, self.rules.prompts):
            with self.sessions() as session, session.begin():
                reign = self._load_reign(session, now)
                if reign and watch.close_due(session, reign, now):
                    forget_windows(session, now)

    def _load_reign(self, session: Session, now: datetime) -> Reign | None:
        champion = requests.load_champion(session, self.family)
        if champion is None:
            return None
        return Reign(champion, repository.load_request_history(session, now - MONTH).last_asked_at)

    def _run_detectors(
        self, session: Session, champion: Champion | None, history: RequestHistory, now: datetime
    ) -> tuple[DetectorResult, ...]:
        rules = self.rules
        results = [*self._detect_drift(session, champion, history, now)]
        results.append(describe_health(repository.measure_health(session, now, rules.window)))
        if rules.schedule:
            reason = assess_schedule(history.last_requested_at, rules.schedule, now)
            summary = reason.summary if reason else "not due yet"
            results.append(DetectorResult("schedule", summary, threshold=rules.schedule.total_seconds(), reason=reason))
        return tuple(results)

    def _detect_drift(
        self, session: Session, champion: Champion | None, history: RequestHistory, now: datetime
    ) -> tuple[DetectorResult, DetectorResult]:
        opinion, prompts = self.rules.opinion, self.rules.prompts
        if champion is None:
            unknown = "no champion is known"
            return DetectorResult("opinion", unknown), DetectorResult("prompt_drift", unknown)
        reign = Reign(champion, history.last_asked_at)
        rate = repository.measure_response_rate(session, champion, now - self.rules.window)
        return (
            describe_opinion(opinion.assess(session, reign), opinion.budget.threshold("opinion"), rate),
            describe_prompts(prompts.assess(session, reign), prompts.budget.threshold("prompt_drift")),
        )

    def _bound_volume(self, session: Session, basis: Basis, now: datetime) -> Volume:
        """Bound what is new by what was counted or measured before and what was stored since."""
        memory = self.memory
        if memory.bound is None or memory.bound.basis != basis:
            memory.bound = _measure_stored(session, basis, now)
        known = memory.count if memory.count and memory.count.basis == basis else memory.bound
        return derive_bound(known, *repository.count_stored_since(session, known.sequence))

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


def _measure_stored(session: Session, basis: Basis, now: datetime) -> Count:
    """Measure what is stored once those who store now are done: what comes after has a higher `sequence`."""
    through = load_last_sequence(session)
    wait_for_holders(session, EVIDENCE_LOCK)
    return Count(basis, through, repository.measure_stored(session, basis.baseline), now, timedelta())
