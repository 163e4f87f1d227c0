"""Whether a candidate that is asked in secret answers worse than the champion: paired tests, valid whenever one looks.

Each group of users gives one number d in [-1, 1] for each guardrail, by the first of its prompts that has one: above 0
where the candidate did better. Users are what is drawn, not prompts, of which one user may send as many as they like.
Under "on average it does not do worse" the product of 1 - bet·d has an expectation of at most 1, for any bet in (0, 1),
whatever the two answers to one prompt have to do with each other; so has the mean over several bets, and by Ville's
inequality it reaches 1/alpha with probability at most alpha, ever.

No user is served, so nothing is shown to be good here: the shadow ends once nothing bad was found in enough prompts.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.deployer.domain.guardrails import SLOW_QUANTILE, YARDSTICK_USERS
from services.deployer.domain.limits import Action, Limits
from services.deployer.domain.stages import Decision

BETS = (0.05, 0.15, 0.4, 0.8)
LARGEST = 1e250
FEW_WORDS = 5
"""Added to both lengths: two words in place of one are no longer answer."""
DIFFERENCES: dict[str, Action] = {
    "failures": "roll_back",
    "refusals": "roll_back",
    "latency": "roll_back",
    "judge": "roll_back",
    "longer": "hold",
    "shorter": "hold",
}
"""Each guardrail, and what it does: those that end the rollout share alpha, those that hold it as much again."""


@dataclass(frozen=True)
class MirroredAnswer:
    """One version's answer to a prompt, in numbers."""

    failed: bool
    """It did not come whole, or was empty."""
    refused: bool
    words: int
    seconds: float


@dataclass(frozen=True)
class Comparison:
    champion: MirroredAnswer
    candidate: MirroredAnswer
    group: int
    """Which of a thousand groups of users asked."""
    preference: float | None = None
    """A judge's: 1 for the candidate, 0 for the champion, a half for a tie."""

    @property
    def is_answered(self) -> bool:
        return not (self.champion.failed or self.candidate.failed)


@dataclass(frozen=True)
class ShadowReading:
    """Where one guardrail stands: it acts when `e_value` has reached `acts_at`. `mean`: of d over `users`."""

    name: str
    action: Action
    e_value: float
    acts_at: float
    users: int
    mean: float | None

    @property
    def is_breached(self) -> bool:
        return self.e_value >= self.acts_at


def read_shadow(comparisons: Sequence[Comparison], limits: Limits) -> list[ShadowReading]:
    """Return where each guardrail stands after these comparisons, in the order in which they came."""
    mark = find_slow_mark(comparisons)
    measures: dict[str, Callable[[Comparison], float | None]] = {
        "failures": lambda each: float(each.champion.failed) - float(each.candidate.failed),
        "refusals": lambda each: each.champion.refused - each.candidate.refused if each.is_answered else None,
        "latency": lambda each: compare_seconds(each, mark),
        "judge": lambda each: None if each.preference is None else 2 * each.preference - 1,
        "longer": lambda each: compare_lengths(each, limits.shadow_length_factor),
        "shorter": lambda each: compare_lengths(each, 1 / limits.shadow_length_factor),
    }
    tested = {"latency": comparisons[YARDSTICK_USERS:]}
    return [
        _read(name, list(take_one_of_each(tested.get(name, comparisons), measure)), limits)
        for name, measure in measures.items()
    ]


def take_one_of_each(
    comparisons: Iterable[Comparison], measure: Callable[[Comparison], float | None]
) -> Iterator[float]:
    """Return each group's first number, in the order in which they came."""
    seen = set()
    for each in comparisons:
        if each.group not in seen and (difference := measure(each)) is not None:
            seen.add(each.group)
            yield difference


def _read(name: str, differences: Sequence[float], limits: Limits) -> ShadowReading:
    action = DIFFERENCES[name]
    acts_at = sum(other == action for other in DIFFERENCES.values()) / limits.alpha
    mean = sum(differences) / len(differences) if differences else None
    return ShadowReading(name, action, weigh_differences(differences), acts_at, len(differences), mean)


def weigh_differences(differences: Iterable[float]) -> float:
    """Return the largest e-value so far against "the mean difference is not below 0"."""
    wealth, highest = [1 / len(BETS)] * len(BETS), 1.0
    for difference in differences:
        wealth = [min(each * (1 - bet * difference), LARGEST) for each, bet in zip(wealth, BETS, strict=True)]
        highest = max(highest, sum(wealth))
    return highest


def find_slow_mark(comparisons: Sequence[Comparison]) -> float:
    """Return the champion's 90% quantile over its first fifty prompts, which are not tested; infinite before."""
    first = [each.champion.seconds for each in comparisons[:YARDSTICK_USERS] if not each.champion.failed]
    if len(comparisons) <= YARDSTICK_USERS or not first:
        return math.inf
    return sorted(first)[int(SLOW_QUANTILE * len(first))]


def compare_seconds(comparison: Comparison, mark: float) -> float | None:
    """Return 1, 0 or -1 by whose answer alone took longer than the mark."""
    if not comparison.is_answered:
        return None
    return float(comparison.champion.seconds > mark) - float(comparison.candidate.seconds > mark)


def compare_lengths(comparison: Comparison, factor: float) -> float | None:
    """Return -1 for an answer more than `factor` (below 1: less than) times as long as the champion's, else 1.

    The mean is below 0 where that is so of most prompts.
    """
    if not comparison.is_answered or comparison.champion.refused or comparison.candidate.refused:
        return None
    ratio = (comparison.candidate.words + FEW_WORDS) / (comparison.champion.words + FEW_WORDS)
    is_beyond = ratio > factor if factor > 1 else ratio < factor
    return -1.0 if is_beyond else 1.0


def count_users(comparisons: Iterable[Comparison]) -> int:
    """Count who asked, by groups."""
    return len({each.group for each in comparisons})


def assess_shadow(
    readings: Sequence[ShadowReading], comparisons: Sequence[Comparison], age: timedelta, limits: Limits
) -> Decision:
    """Return the decision of the first of these that holds.

    - a guardrail found the candidate worse: end the rollout
    - nothing keeps the shadow: advance
    - it is older than a stage may be: end the rollout, with what was missing
    - an answer's length differs, or too few prompts were compared: hold
    """
    breached = [reading for reading in readings if reading.is_breached]
    if harm := [reading for reading in breached if reading.action == "roll_back"]:
        return Decision("abort", f"worse in its shadow: {_describe_all(harm)}")
    missing = max(limits.shadow_prompts - len(comparisons), 0)
    held = _describe_missing(missing, comparisons, limits) if missing else None
    if holding := [reading for reading in breached if reading.action == "hold"]:
        held = f"held in its shadow: {_describe_all(holding)}"
    if held is None:
        return Decision("advance", f"nothing found in {len(comparisons)} prompts of its shadow", 0)
    if age.total_seconds() >= limits.deadline_seconds:
        return Decision("abort", f"undecided after {limits.deadline_seconds / 86_400:.3g} days in its shadow: {held}")
    return Decision("hold", held, missing)


def _describe_missing(missing: int, comparisons: Sequence[Comparison], limits: Limits) -> str:
    users, most = count_users(comparisons), limits.shadow_prompts_of_one
    return f"{missing} more prompts needed in the shadow: of each user {most} count, and {users} asked so far"


def _describe_all(readings: Sequence[ShadowReading]) -> str:
    return "; ".join(
        f"{each.name}: {each.mean or 0.0:+.1%} over {each.users} users; e-value {each.e_value:.3g}"
        f" of {each.acts_at:.3g}"
        for each in readings
    )
