"""What a judge that is a model says: of every prompt in both orders, so that a bias for a seat cancels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from services.evaluator.domain.intervals import Z_POWER, Z, calculate_share_interval
from services.evaluator.domain.rules import JudgeRule
from services.evaluator.domain.votes.betting import LEVEL
from shared.events import GateResult

NAME = "judged_win_rate"


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate's score on one prompt where it stood first, and where it stood second; None: not readable."""

    prompt_hash: str
    group: str
    """Its region of prompts, or itself."""
    first: float | None
    second: float | None

    @property
    def score(self) -> float | None:
        return None if self.first is None or self.second is None else (self.first + self.second) / 2


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    judge: str
    rubric_sha256: str
    judgements: list[Judgement] = []
    failure: str | None = None
    """Why it could not be asked to the end."""

    @property
    def scores(self) -> dict[str, float]:
        """Return the candidate's score by prompt, of those that were readable in both orders."""
        return {each.prompt_hash: each.score for each in self.judgements if each.score is not None}


def calculate_seat_bias(judgements: Sequence[Judgement]) -> float | None:
    """Return how much oftener than every other time the first seat wins; None without a decision.

    Each pair of answers sat both ways, so a seat's advantage shows whatever the answers are worth.
    """
    wins = [
        won
        for each in judgements
        if each.first is not None and each.second is not None
        for won in (each.first, 1 - each.second)
        if won != 0.5
    ]
    return sum(wins) / len(wins) - 0.5 if wins else None


def calculate_agreement(scores: Mapping[str, float], people: Mapping[str, float]) -> tuple[float | None, int]:
    """Return the share of prompts on which the judge prefers whom people prefer, and of how many it is."""
    alike = [
        (scores[prompt] > 0.5) == (people[prompt] > 0.5)
        for prompt in scores.keys() & people.keys()
        if people[prompt] != 0.5 and scores[prompt] != 0.5
    ]
    return (sum(alike) / len(alike) if alike else None), len(alike)


def assess_judged(judged: Judged, people: Mapping[str, float], rule: JudgeRule, level: float = LEVEL) -> GateResult:
    """Pass when the judge surely prefers the candidate, fail when the champion. It is no better than its agreement.

    Each side errs with `level` at most.

    Inconclusive with `cause: error` when it could not be asked, or too much of what it said could not be read.
    """
    usable = [each for each in judged.judgements if each.score is not None]
    asked = len(judged.judgements)
    if judged.failure is not None:
        return _tell_error(f"the judge {judged.judge} could not be asked: {judged.failure}", len(usable))
    if asked - len(usable) > rule.unusable * asked:
        told = f"the judge {judged.judge} said nothing that can be read of {asked - len(usable)} of {asked} prompts"
        return _tell_error(told, len(usable))
    groups: dict[str, list[float]] = defaultdict(list)
    for each in usable:
        groups[each.group].append(each.score or 0.0)
    n = len(groups)
    if not n:
        return GateResult(name=NAME, verdict="inconclusive", summary="there was nothing to judge", n=0)
    effect = sum(sum(scores) / len(scores) for scores in groups.values()) / n
    low, high = calculate_share_interval(effect * n, n, level)
    enough = n >= rule.least
    return GateResult(
        name=NAME,
        verdict="pass" if low > 0.5 and enough else "fail" if high < 0.5 and enough else "inconclusive",
        summary=_tell(judged, people, (effect, low, high), n, level),
        effect=effect,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=min(0.5, (Z + Z_POWER) / Z * (high - low) / 2),
        more_needed=None if enough else rule.least - n,
        floor=0.5,
    )


def _tell(
    judged: Judged, people: Mapping[str, float], estimate: tuple[float, float, float], n: int, level: float
) -> str:
    bias = calculate_seat_bias(judged.judgements)
    agreement, shared = calculate_agreement(judged.scores, people)
    seat = "never decided" if bias is None else f"favours the first seat by {bias:+.0%}, which both orders take out"
    known = "nobody voted to compare it with" if agreement is None else f"{agreement:.0%} as people on {shared} prompts"
    return (
        f"the judge {judged.judge} prefers the candidate {estimate[0]:.1%} of the time "
        f"({100 * (1 - 2 * level):.4g}% interval {estimate[1]:.1%} to {estimate[2]:.1%}, {n} regions of prompts); "
        f"it {seat}; agreement: {known}"
    )


def _tell_error(reason: str, n: int) -> GateResult:
    return GateResult(name=NAME, verdict="inconclusive", summary=f"cause: error; {reason}", n=n, cause="error")
