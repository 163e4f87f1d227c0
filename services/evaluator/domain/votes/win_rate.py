"""Do people prefer the candidate's answers?"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from services.evaluator.domain.rules import Rule
from services.evaluator.domain.votes.ballots import Ballot, Estimand, Unit, derive_units
from services.evaluator.domain.votes.betting import (
    BOLDEST,
    LEVEL,
    Design,
    Scores,
    calculate_interval,
    calculate_minimum_effect,
    calculate_units_needed,
    calculate_wealth,
)
from shared.events import GateResult

PROMPT_VARIANCE = 0.04
"""Of what a rater thinks of different prompts, as far as bets suppose."""
LEAST_TO_PASS = math.ceil(-math.log(LEVEL) / math.log1p(BOLDEST))
"""Units that it takes at the least: so many agree by chance in fewer than one of forty null candidates."""

Outcome = Literal["go on", "decided", "futile", "exhausted"]


class VotingPlan(Rule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a win rate is measured."""

    estimand: Estimand = "population"
    panel_decides: bool = False
    """Let a panel pass a candidate that its raters prefer, which is no evidence of what users prefer."""
    raters: Annotated[int, Meta(ge=3, le=1_000)] = 20
    """Raters after whom voting ends, decided or not; prompts are shared out among so many. A panel has so many."""
    least_raters: Annotated[int, Meta(ge=3, le=1_000)] = 3
    effect: Annotated[float, Meta(gt=0, le=0.5)] = 0.15
    """Distance from a win rate of 1/2 that the bets are made for."""
    rater_spread: Annotated[float, Meta(ge=0, le=0.5)] = 0.15
    """Standard deviation of raters' leanings that the bets are made for."""
    futility: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    """Voting ends, undecided, once the wealth that bets on the candidate have left is less."""
    level: Annotated[float, Meta(ge=1e-4, le=LEVEL)] = LEVEL
    """Share of null candidates that pass, at most; less where successive candidates have used up their budget."""

    @property
    def wealth_needed(self) -> float:
        return 1 / self.level

    @property
    def seats(self) -> int | None:
        """Return how many raters a panel has; None for the population."""
        return self.raters if self.estimand == "panel" else None

    @property
    def least_to_pass(self) -> int:
        return math.ceil(math.log(self.wealth_needed) / math.log1p(BOLDEST))

    def find_design(self, votes_each: float) -> Design:
        """Return what bets expect of a rater who casts so many votes, or of a round of a panel's with so many each."""
        if self.seats is not None:
            return Design(self.effect, (PROMPT_VARIANCE + 0.25 / max(1.0, votes_each)) / self.seats)
        return Design(self.effect, self.rater_spread**2 + 0.25 / max(1.0, votes_each))


@dataclass(frozen=True)
class Count:
    """Where a vote stands: its units' scores, and what the bets on each side are worth."""

    units: list[Unit]
    raters: int
    votes: int
    asked: int
    settled_share: float
    """Prompts with equal answers: a tie that nobody was asked for."""
    design: Design
    complete_only: bool

    @property
    def scores(self) -> Scores:
        return np.array([unit.score for unit in self.units if unit.is_complete or not self.complete_only])

    def find_wealth(self) -> tuple[Scores, Scores]:
        """Return the wealth after each unit of bets on the candidate and on the champion."""
        return calculate_wealth(self.scores, 0.5, self.design), calculate_wealth(1 - self.scores, 0.5, self.design)


def count_votes(ballots: Sequence[Ballot], plan: VotingPlan, *, complete_only: bool = False) -> Count:
    """Count the votes in the plan's units; until voting has ended, only complete ones may count."""
    asked = [ballot for ballot in ballots if ballot.is_asked]
    raters = {ballot.rater for ballot in ballots if ballot.vote is not None and ballot.rater is not None}
    return Count(
        list(derive_units(ballots, plan.seats).values()),
        len(raters),
        sum(ballot.vote is not None for ballot in ballots),
        len(ballots),
        1 - len(asked) / len(ballots) if ballots else 0.0,
        plan.find_design(len(asked) / max(1, len({ballot.pile for ballot in asked}))),
        complete_only,
    )


def decide_voting(ballots: Sequence[Ballot], plan: VotingPlan) -> Outcome:
    """Tell whether voting goes on. It ends once

    - the bets on either side have won what refutes the other, with the least number of raters (decided)
    - the bets on the candidate have lost nearly all, or could not win enough with all raters to come (futile)
    - as many raters as planned are complete, or every comparison has its vote (exhausted)
    """
    count = count_votes(ballots, plan, complete_only=True)
    wealth, against = count.find_wealth()
    if count.raters >= plan.least_raters and max(wealth.max(initial=0), against.max(initial=0)) >= plan.wealth_needed:
        return "decided"
    if all(ballot.vote is not None for ballot in ballots):
        return "exhausted"
    done = wealth.size
    if plan.estimand == "population" and done >= plan.raters:
        return "exhausted"
    if count.raters >= plan.least_raters and done and wealth[-1] < find_futility(plan, done):
        return "futile"
    return "go on"


def find_futility(plan: VotingPlan, done: int) -> float:
    """Return the wealth below which voting is futile once so many units are done."""
    if plan.seats is not None:
        return plan.futility
    left = max(0, plan.raters - done) * math.log1p(BOLDEST)
    return max(plan.futility, plan.wealth_needed * math.exp(-left))


def derive_prompt_scores(ballots: Sequence[Ballot]) -> dict[str, float]:
    """Return the candidate's mean score on each prompt that has a vote."""
    scores: dict[str, list[float]] = defaultdict(list)
    for ballot in ballots:
        if ballot.score is not None:
            scores[ballot.prompt_hash].append(ballot.score)
    return {prompt_hash: sum(values) / len(values) for prompt_hash, values in scores.items()}


def calculate_left_share(ballots: Sequence[Ballot]) -> float | None:
    """Return how often the left side won where one side did; far from a half, it is the seat that won."""
    decided = [ballot.vote for ballot in ballots if ballot.vote in ("left", "right")]
    return decided.count("left") / len(decided) if decided else None


def assess_win_rate(ballots: Sequence[Ballot], plan: VotingPlan) -> GateResult:
    """Pass when the whole interval is above one half, fail when it is below, inconclusive otherwise.

    Inconclusive, too, below the least number of raters: nobody's opinion is everybody's.
    """
    count = count_votes(ballots, plan)
    scores, tie = count.scores, count.settled_share / 2
    if not scores.size or count.raters < plan.least_raters:
        return _say_too_few(count, plan)
    low, high = calculate_interval(scores, count.design, plan.level)
    variance = float(scores.var(ddof=1)) if scores.size > 1 else 0.25
    minimum = calculate_minimum_effect(scores.size, variance, plan.level)
    verdict = "pass" if low > 0.5 else "fail" if high < 0.5 else "inconclusive"
    share = 1 - count.settled_share
    rate, low, high = (tie + share * value for value in (float(scores.mean()), low, high))
    more = None if verdict != "inconclusive" else _count_missing(count, plan)
    return GateResult(
        name="win_rate",
        verdict=verdict,  # type: ignore[arg-type]
        summary=_tell(count, plan, rate, (low, high), None if minimum is None else share * minimum, more),
        effect=rate,
        low=low,
        high=high,
        n=int(scores.size),
        minimum_detectable_effect=None if minimum is None else share * minimum,
        more_needed=more,
    )


def withhold(gate: GateResult, plan: VotingPlan) -> GateResult:
    """Say of a panel's result whose opinion it is, and let it pass only where the policy has the panel decide."""
    if plan.seats is None:
        return gate
    told = f"{gate.summary}; the opinion of these {plan.seats} raters, which says nothing of users"
    if gate.verdict != "pass":
        return msgspec.structs.replace(gate, summary=told)
    if plan.panel_decides:
        return msgspec.structs.replace(gate, summary=f"{told}; the policy has this panel decide")
    told += ", so that it passes nothing by itself (panel_decides)"
    return msgspec.structs.replace(gate, summary=told, verdict="inconclusive")


def _count_missing(count: Count, plan: VotingPlan) -> int | None:
    scores = count.scores
    variance = float(scores.var(ddof=1)) if scores.size > 1 else count.design.variance
    if (effect := abs(float(scores.mean()) - 0.5)) == 0:
        return None
    wealth, against = count.find_wealth()
    won = float((wealth if scores.mean() > 0.5 else against)[-1])
    return calculate_units_needed(effect, max(variance, 1e-4), won, plan.level)


def _say_too_few(count: Count, plan: VotingPlan) -> GateResult:
    if count.settled_share == 1:
        return GateResult(name="win_rate", verdict="inconclusive", summary="all answers are equal", effect=0.5, n=0)
    needed = f"at least {plan.least_raters} are needed"
    if plan.seats is not None:
        needed = f"a round needs a vote of each of the panel's {plan.seats}"
    return GateResult(
        name="win_rate",
        verdict="inconclusive",
        summary=f"{count.votes} of {count.asked} votes were cast, by {count.raters} raters; {needed}",
        n=len(count.units),
        more_needed=max(1, (plan.seats or plan.least_raters) - count.raters),
    )


def _tell(
    count: Count,
    plan: VotingPlan,
    rate: float,
    interval: tuple[float, float],
    minimum: float | None,
    more: int | None,
) -> str:
    whom, unit = ("users at large", "raters") if plan.seats is None else (f"these {plan.seats} raters", "rounds")
    n = count.scores.size
    text = (
        f"the candidate won {rate:.1%} ({100 * (1 - 2 * plan.level):.3g}% interval {interval[0]:.1%} to "
        f"{interval[1]:.1%} for {whom}, from {n} {unit}, {count.votes} votes of {count.raters} raters, ties half)"
    )
    if n < plan.least_to_pass:
        text += f"; fewer than {plan.least_to_pass} {unit} cannot decide"
    elif minimum is None:
        text += f"; {n} {unit} who differ so much would show no win rate four times in five"
    else:
        text += f"; a true rate of {0.5 + minimum:.1%} or more would be seen four times in five"
    return text + (f"; about {more} more {unit} would decide if they voted alike" if more else "")
