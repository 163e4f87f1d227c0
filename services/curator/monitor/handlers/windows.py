"""Close the windows of a champion's reign that are over, and say what its detectors make of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy.orm import Session

from services.curator.monitor.domain.detectors import PromptReading
from services.curator.monitor.domain.evidence import Budget, accumulate
from services.curator.monitor.domain.opinion import (
    Opinion,
    OpinionRules,
    Repeats,
    VoteWindow,
    assess_opinion,
    find_learning,
)
from services.curator.monitor.domain.prompt_drift import PromptRules, compare_prompts, draw_picture
from services.curator.monitor.domain.topics import find_topics
from services.curator.monitor.domain.windows import Span, list_due
from services.curator.monitor.repository import windows as repository
from services.curator.monitor.repository.windows import Sample
from services.curator.requests.repository import Champion
from shared.tables.drift import DriftWindow

OPINION, PROMPTS = "opinion", "prompt_drift"


@dataclass(frozen=True)
class Reign:
    """A champion's reign; evidence begins anew after each `asked_at`: the last request that the detector led to."""

    champion: Champion
    asked_at: dict[str, datetime]


@dataclass(frozen=True)
class OpinionWatch:
    rules: OpinionRules
    budget: Budget

    def close_due(self, session: Session, reign: Reign, now: datetime) -> int:
        """Count the votes of every window that is over; return how many windows."""
        rows = [*repository.load_windows(session, OPINION, reign.champion)]
        due = list_due(reign.champion.since, rows[-1].began_at if rows else None, self.rules.period, now)
        for span in due:
            rows.append(self._close(session, reign, rows, span, now))
            repository.save_window(session, rows[-1])
        return len(due)

    def assess(self, session: Session, reign: Reign) -> Opinion:
        return self._assess(reign, repository.load_windows(session, OPINION, reign.champion))

    def _assess(self, reign: Reign, rows: Sequence[DriftWindow]) -> Opinion:
        threshold, asked_at = self.budget.threshold(OPINION), reign.asked_at.get(OPINION)
        return assess_opinion(_read_votes(rows), _read_repeats(rows), self.rules, threshold, asked_at)

    def _close(
        self, session: Session, reign: Reign, before: Sequence[DriftWindow], span: Span, now: datetime
    ) -> DriftWindow:
        counted = repository.count_votes(session, reign.champion, span, self.rules.period)
        row = open_row(OPINION, reign, span, self.budget, now)
        row.inputs = {"votes": counted.votes, "ups": counted.ups}
        learning = find_learning([*_read_votes(before), counted], self.rules)
        if learning and not _read_repeats(before):
            learnt = Span([*before, row][learning.start].began_at, [*before, row][learning.stop - 1].ended_at)
            row.inputs["repeats"] = repository.count_repeats(session, reign.champion, learnt, self.rules.period)
        opinion = self._assess(reign, [*before, row])
        row.evidence, row.verdict, row.summary = opinion.value, opinion.state, opinion.summary
        return row


def open_row(detector: str, reign: Reign, span: Span, budget: Budget, now: datetime) -> DriftWindow:
    return DriftWindow(
        detector=detector,
        model_version=reign.champion.version,
        began_at=span.began_at,
        ended_at=span.ended_at,
        closed_at=now,
        threshold=budget.threshold(detector),
    )


def _read_votes(rows: Sequence[DriftWindow]) -> list[VoteWindow]:
    return [VoteWindow(row.began_at, row.inputs["votes"], row.inputs["ups"]) for row in rows]


def _read_repeats(rows: Sequence[DriftWindow]) -> list[Repeats]:
    return next(([Repeats(*one) for one in row.inputs["repeats"]] for row in rows if "repeats" in row.inputs), [])


@dataclass(frozen=True)
class PromptWatch:
    rules: PromptRules
    budget: Budget
    embedder: str

    def close_due(self, session: Session, reign: Reign, now: datetime) -> int:
        """Compare the prompts of every window that is over with its reference; return how many windows."""
        rows = [*repository.load_windows(session, PROMPTS, reign.champion)]
        due = list_due(reign.champion.since, rows[-1].began_at if rows else None, self.rules.window, now)
        for span in due:
            rows.append(self._close(session, reign, rows, span, now))
            repository.save_window(session, rows[-1])
        return len(due)

    def assess(self, session: Session, reign: Reign) -> PromptReading:
        rows = repository.load_windows(session, PROMPTS, reign.champion)
        if not rows:
            return PromptReading("reference", f"no window of {self.rules.window} has passed since the promotion")
        last, evidence = rows[-1], self._carry(reign, rows)
        state = "watching" if last.verdict == "alarm" and evidence < last.threshold else last.verdict
        inputs = last.inputs
        return PromptReading(state, last.summary, evidence, inputs.get("effect"), inputs.get("p_value"), len(rows))

    def _carry(self, reign: Reign, rows: Sequence[DriftWindow]) -> float:
        """Return the evidence of the last window, 0 if a request answered it."""
        asked_at = reign.asked_at.get(PROMPTS)
        if not rows or rows[-1].evidence is None or (asked_at and rows[-1].began_at <= asked_at):
            return 0.0
        return rows[-1].evidence

    def _close(
        self, session: Session, reign: Reign, before: Sequence[DriftWindow], span: Span, now: datetime
    ) -> DriftWindow:
        row = open_row(PROMPTS, reign, span, self.budget, now)
        window = repository.load_sample(session, span, self.embedder, self.rules.most)
        row.inputs = {"prompts": len(window.prompt_hashes), "embedder": self.embedder}
        if len(before) < self.rules.cycle:
            row.evidence, row.verdict = 0.0, "reference"
            row.summary = f"reference, window {len(before) + 1} of {self.rules.cycle}: {len(window.vectors)} prompts"
            return row
        first = before[len(before) % self.rules.cycle]
        origin = Span(first.began_at, first.ended_at)
        reference = repository.load_sample(session, origin, self.embedder, self.rules.most)
        self._compare(row, reference, window, self._carry(reign, before))
        return row

    def _compare(self, row: DriftWindow, reference: Sample, window: Sample, evidence: float) -> None:
        rng = np.random.default_rng(int(row.began_at.timestamp()))
        shift = compare_prompts(reference.vectors, window.vectors, self.rules, rng)
        row.inputs |= {"reference": len(reference.vectors), "effect": shift.effect, "p_value": shift.p_value}
        row.e_value = shift.e_value
        total = accumulate(np.array([evidence]), np.array([shift.e_value]), self.rules.days, row.threshold)
        row.evidence = float(total[0])
        if shift.state == "unmeasurable":
            row.verdict = "unmeasurable"
            row.summary = f"too few users asked: {len(reference.vectors)} then, {len(window.vectors)} now"
            return
        row.verdict = "alarm" if row.evidence >= row.threshold else "watching"
        named = explain(reference, window, rng)
        row.explanation = named | {"picture": draw_picture(reference.vectors, window.vectors)}
        row.summary = (
            f"the mean prompt moved by {shift.effect:.0%} of the prompts' spread (p = {shift.p_value:.3f}), "
            f"{_say_topics(named['topics'])}; evidence {row.evidence:,.1f} days (alarm at {row.threshold:,.0f})"
        )


def explain(reference: Sample, window: Sample, rng: np.random.Generator) -> dict[str, list[dict[str, object]]]:
    """Name the topics that changed, with the hashes of example prompts."""
    topics = []
    for topic in find_topics(reference.vectors, window.vectors, rng):
        side = window if topic.change in ("new", "grew") else reference
        examples = [side.prompt_hashes[place] for place in topic.examples]
        topics.append(topic.describe() | {"examples": examples})
    return {"topics": topics}


def _say_topics(topics: Sequence[dict[str, object]]) -> str:
    if not topics:
        return "no single topic stands out"
    said = [f"a topic {topic['change']}: {topic['before']:.0%} to {topic['after']:.0%}" for topic in topics[:3]]
    return ", ".join(said)
