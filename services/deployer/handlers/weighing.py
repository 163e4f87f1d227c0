"""What a rollout's users did, as evidence: exposures become outcomes, outcomes move the guardrails."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.deployer.domain.arms import ARMS, Counts
from services.deployer.domain.forecast import QUANTILES, Effect, Traffic, add_up, forecast_stage
from services.deployer.domain.guardrails import StageEvidence
from services.deployer.domain.limits import Limits
from services.deployer.domain.outcomes import derive_outcome
from services.deployer.domain.routing import list_voting_arms
from services.deployer.domain.stages import Decision, StageFacts, assess_stage
from services.deployer.handlers.breaking import take_look
from services.deployer.handlers.limits import load_limits
from services.deployer.repository.exposures import (
    count_exposed,
    list_due,
    load_last_sequence,
    load_outcomes,
    measure_day,
    save_outcome,
)
from services.deployer.repository.votes import count_votes, load_judged_answers
from services.deployer.settings import DeployerSettings
from shared.tables.deployer import Rollout

AT_ONCE = 2_000
"""Outcomes that one look derives: a look must not keep the others waiting."""
LARGEST = 1e299  # JSON has no infinity


@dataclass
class Known:
    """Evidence of a rollout's stage up to the outcome of this number."""

    stage: int
    evidence: StageEvidence
    sequence: int = 0


@dataclass(frozen=True)
class Weighing:
    """Weighs open rollouts, and promoted ones that a holdback still watches."""

    settings: DeployerSettings
    cache: dict[UUID, Known] = field(default_factory=dict)
    """Evidence at the last look, so that the next one reads what is new."""

    def weigh(self, session: Session, rollout: Rollout, now: datetime) -> Decision:
        """Return what the evidence of the stage says, and write it into the rollout."""
        limits, stage = load_limits(rollout, self.settings), find_stage(rollout)
        place = len(limits.stages) if rollout.stage is None else rollout.stage  # an admin may have skipped some
        self._derive_outcomes(session, rollout, stage, limits, now)
        evidence = self._load_evidence(session, rollout.rollout_id, stage, limits, place)
        started = (rollout.stage_started_at if rollout.stage is not None else rollout.closed_at) or now
        seconds = (now - started).total_seconds()
        exposed = count_exposed(session, rollout.rollout_id, stage)
        share = limits.calculate_canary_share(place)
        forecast = forecast_from(evidence, limits, place, sum(exposed.values()) / max(seconds, 1.0))
        facts = StageFacts(
            readings=evidence.read(exposed, share),
            advance=evidence.advance.e_value,
            advance_alpha=limits.calculate_advance_alpha(place) if place < len(limits.stages) else 1.0,
            seconds=seconds,
            said={arm: evidence.said[arm] for arm in list_voting_arms(share * 100, 0)},
            breaker=take_look(session, rollout, limits, place, since=started, now=now),
            missing_users=_count_missing(forecast, exposed, seconds),
        )
        decision = assess_stage(facts, limits)
        votes = count_votes(session, rollout.rollout_id)
        described = describe_evidence(facts, decision, limits) | {arm: asdict(votes.get(arm, Counts())) for arm in ARMS}
        described |= {"users": dict(exposed), "forecast": describe_forecast([forecast], [share * 100])}
        described["not_worse_by"] = evidence.find_bound(limits.alpha_advance)
        described["deadline_at"] = (started + timedelta(seconds=limits.deadline_seconds)).isoformat()
        rollout.evidence = rollout.evidence | described
        return decision

    def forget(self, keep: set[UUID]) -> None:
        for known in self.cache.keys() - keep:
            del self.cache[known]

    def _derive_outcomes(self, session: Session, rollout: Rollout, stage: int, limits: Limits, now: datetime) -> None:
        """Give an outcome to every exposure that has been over for as long as its events may take."""
        before = now - timedelta(seconds=limits.exposure_seconds + self.settings.outcome_grace_seconds)
        due = list_due(session, rollout.rollout_id, stage, before, AT_ONCE)
        if not due:
            return
        answers = load_judged_answers(session, rollout.rollout_id, [exposure.user for exposure in due])
        last = load_last_sequence(session, rollout.rollout_id, stage)
        for sequence, exposure in enumerate(due, start=last + 1):
            arm, seen = exposure.arm, answers.get(exposure.user, [])
            outcome = derive_outcome(seen, arm, exposure.began_at, limits.exposure_seconds)  # type: ignore[arg-type]
            save_outcome(exposure, sequence, outcome)
        session.flush()

    def _load_evidence(
        self, session: Session, rollout_id: UUID, stage: int, limits: Limits, place: int
    ) -> StageEvidence:
        """Extend what is known by the outcomes since; nothing goes over from one stage to the next."""
        last = load_last_sequence(session, rollout_id, stage)
        known = self.cache.get(rollout_id)
        if known is None or known.stage != stage or known.sequence > last:
            evidence = StageEvidence(
                limits,
                canary_share=limits.calculate_canary_share(place),
                is_promoted=place == len(limits.stages),
            )
            known = self.cache[rollout_id] = Known(stage, evidence)
        for outcome in load_outcomes(session, rollout_id, stage, after=known.sequence):
            known.evidence.add(outcome)
            known.sequence += 1
        return known.evidence


def find_stage(rollout: Rollout) -> int:
    """Return the stage that users are in: after the last one, that of the holdback."""
    return len(rollout.stages) if rollout.stage is None else rollout.stage


def forecast_from(evidence: StageEvidence, limits: Limits, stage: int, users_per_second: float) -> list[float | None]:
    """Forecast the rest of a stage from what its users said so far."""
    if stage >= len(limits.stages):
        return [0.0] * len(QUANTILES)
    champion, canary = evidence.means["outcome"]["champion"], evidence.means["outcome"]["canary"]
    speaking = evidence.means["response_rate"]["champion"].value
    traffic = Traffic(users_per_second, 1.0 if speaking is None else speaking, champion.variance)
    error = (champion.variance / max(champion.users, 1) + canary.variance / max(canary.users, 1)) ** 0.5
    effect = Effect((canary.value or 0.0) - (champion.value or 0.0), error)
    return forecast_stage(
        traffic,
        effect if champion.users and canary.users else Effect(),
        share=limits.calculate_canary_share(stage),
        alpha=limits.calculate_advance_alpha(stage),
        delta=limits.delta,
        known=evidence.advance.e_value or 1.0,
    )


def forecast_rollout(session: Session, limits: Limits, now: datetime) -> dict[str, Any]:
    """Forecast every stage of a candidate as good as the champion, from the last day's users."""
    users, speaking = measure_day(session, now)
    rate = speaking / users if users else 0.0
    traffic = Traffic(users / 86_400, rate, rate * limits.silence * (1 - limits.silence))
    stages = [
        forecast_stage(
            traffic,
            Effect(),
            share=limits.calculate_canary_share(stage),
            alpha=limits.calculate_advance_alpha(stage),
            delta=limits.delta,
        )
        for stage in range(len(limits.stages))
    ]
    longest = limits.minimum_seconds, limits.exposure_seconds
    whole = [[None if part is None else max(longest[0], part + longest[1]) for part in stage] for stage in stages]
    forecast = describe_forecast(whole, limits.stages)
    never = [
        f"{percent:g}%"
        for percent, stage in zip(limits.stages, whole, strict=True)
        if stage[0] is None or stage[0] > limits.deadline_seconds
    ]
    warning = f"will not decide within its deadline: {', '.join(never)}" if never else None
    return forecast | {"users_per_day": users, "response_rate": rate, "warning": warning}


def describe_forecast(stages: list[list[float | None]], percents: list[float]) -> dict[str, Any]:
    """Return seconds until each stage decides, by quantile, and their sum."""
    return {
        "quantiles": list(QUANTILES),
        "stages": [{"percent": percent, "seconds": each} for percent, each in zip(percents, stages, strict=True)],
        "seconds": add_up(stages),
    }


def _count_missing(forecast: list[float | None], exposed: dict[Any, int], seconds: float) -> int | None:
    median = forecast[1]
    return None if median is None else round(median * sum(exposed.values()) / max(seconds, 1.0))


def describe_evidence(facts: StageFacts, decision: Decision, limits: Limits) -> dict[str, Any]:
    """Return what the API shows: each guardrail with its bound, what is missing, and why."""
    harm = [reading for reading in facts.readings if reading.name == "outcome"]
    return {
        "e_rollback": min(harm[0].e_value, LARGEST) if harm else 0.0,
        "rolls_back_at": harm[0].acts_at if harm else 0.0,
        "e_advance": min(facts.advance, LARGEST),
        "advances_at": 1 / facts.advance_alpha,
        "delta": limits.delta,
        "guardrails": [
            asdict(reading) | {"e_value": min(reading.e_value, LARGEST), "is_breached": reading.is_breached}
            for reading in facts.readings
        ],
        "breaker": asdict(facts.breaker),
        "stage_votes": dict(facts.said),
        "canary_served": facts.breaker.served,
        "canary_errors": facts.breaker.errors,
        "missing_votes": decision.missing_users,
        "summary": decision.summary,
    }
