"""What no vote should have to catch: answers that are empty, loop, refuse, run away or are all alike."""

import math
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

import numpy as np

from services.evaluator.domain.intervals import (
    Z_POWER,
    Z,
    calculate_mean_interval,
    calculate_paired_interval,
    calculate_ratio_interval,
)
from services.evaluator.domain.measures.diversity import calculate_distinct, calculate_self_bleu
from services.evaluator.domain.measures.texts import is_repetitive, talks_to_judge
from services.evaluator.domain.regions import LEAST_REGIONS, derive_units
from services.evaluator.domain.rules import MarginRule, RatioRule
from shared.answers import count_words, is_empty, is_refusal
from shared.events import GateResult

LEAST_DIVERSITY = 0.05
"""A champion that says one thing has no diversity to lose."""
MOST_NEEDED = 5_000

Regions = Sequence[Hashable]
"""Of each answer's prompt, in the same order; empty: each prompt is one of its own."""


def assess_empty(
    candidate: Sequence[str], champion: Sequence[str], rule: MarginRule, regions: Regions = ()
) -> GateResult:
    return assess_answers("empty_answers", "empty", is_empty, candidate, champion, rule, regions)


def assess_repetition(
    candidate: Sequence[str], champion: Sequence[str], rule: MarginRule, regions: Regions = ()
) -> GateResult:
    return assess_answers("repetition", "repetitive", is_repetitive, candidate, champion, rule, regions)


def assess_refusals(
    candidate: Sequence[str], champion: Sequence[str], rule: MarginRule, regions: Regions = ()
) -> GateResult:
    return assess_answers("refusals", "refusals", is_refusal, candidate, champion, rule, regions)


def assess_judge_talk(
    candidate: Sequence[str], champion: Sequence[str], rule: MarginRule, regions: Regions = ()
) -> GateResult:
    return assess_answers("judge_talk", "spoken to a judge", talks_to_judge, candidate, champion, rule, regions)


def assess_answers(
    name: str,
    adjective: str,
    has_trait: Callable[[str], bool],
    candidate: Sequence[str],
    champion: Sequence[str],
    rule: MarginRule,
    regions: Regions = (),
) -> GateResult:
    ours, theirs = [has_trait(answer) for answer in candidate], [has_trait(answer) for answer in champion]
    return assess_trait(name, adjective, ours, theirs, rule, regions)


def assess_trait(
    name: str, adjective: str, ours: Sequence[bool], theirs: Sequence[bool], rule: MarginRule, regions: Regions = ()
) -> GateResult:
    """Compare whether answers to the same prompts, in the same order, have a trait.

    Pass when the whole interval of the difference is within the margin, fail when it is beyond, inconclusive between.
    A region of prompts is one piece of evidence; the effect is the mean over them.
    """
    n = len(ours)
    if not n:
        return GateResult(name=name, verdict="inconclusive", summary="there are no answers", n=0)
    units = derive_units(n, regions, count_needed(rule.margin))
    worse = sum(units.average([mine and not other for mine, other in zip(ours, theirs, strict=True)]))
    better = sum(units.average([other and not mine for mine, other in zip(ours, theirs, strict=True)]))
    low, high = calculate_paired_interval(worse, better, len(units))
    return _judge_difference(
        name,
        f"{sum(ours)} of the candidate's and {sum(theirs)} of the champion's {n} answers are {adjective}; harmless are "
        f"{rule.margin:.0%} more{units.told}",
        ((worse - better) / len(units), low, high),
        len(units),
        rule,
    )


@lru_cache(maxsize=256)
def count_needed(margin: float) -> int:
    """Return how many units of which none differs are surely within the margin."""
    sizes = range(LEAST_REGIONS, MOST_NEEDED)
    return LEAST_REGIONS + bisect_left(sizes, True, key=lambda n: calculate_paired_interval(0, 0, n)[1] <= margin)


def assess_diversity(
    candidate: Sequence[str], champion: Sequence[str], rule: MarginRule, regions: Regions = ()
) -> GateResult:
    """Compare how much each answer repeats the model's other answers, by self-BLEU.

    The effect is the share of the champion's diversity (what its self-BLEU lacks of 1) that is lost.
    """
    if len(candidate) < 2:
        return GateResult(name="diversity", verdict="inconclusive", summary="there are no answers to compare", n=0)
    ours, theirs = calculate_self_bleu(candidate), calculate_self_bleu(champion)
    differences = (np.array(ours) - np.array(theirs)) / max(1 - float(np.mean(theirs)), LEAST_DIVERSITY)
    units = derive_units(len(candidate), regions)
    lost = np.array(units.average(differences.tolist()))
    distinct = [calculate_distinct(answers) or 0.0 for answers in (candidate, champion)]
    return _judge_difference(
        "diversity",
        f"self-BLEU {np.mean(ours):.2f} against the champion's {np.mean(theirs):.2f}, distinct pairs of words "
        f"{distinct[0]:.0%} against {distinct[1]:.0%}; harmless is {rule.margin:.0%} less diversity{units.told}",
        (float(lost.mean()), *calculate_mean_interval(lost)),
        len(units),
        rule,
    )


def _judge_difference(
    name: str, summary: str, estimate: tuple[float, float, float], n: int, rule: MarginRule
) -> GateResult:
    effect, low, high = estimate
    half, room = (high - low) / 2, abs(rule.margin - effect)
    within = high <= rule.margin and n >= rule.least
    verdict = "fail" if low > rule.margin else "pass" if within else "inconclusive"
    more = max(rule.least, math.ceil(n * (half / room) ** 2)) - n if room > half / 100 else None
    return GateResult(
        name=name,
        verdict=verdict,  # type: ignore[arg-type]
        summary=summary,
        effect=effect,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=min(1.0, rule.margin + (Z + Z_POWER) * half / Z),
        more_needed=max(1, more) if verdict == "inconclusive" and more is not None else None,
        ceiling=rule.margin,
    )


def assess_length(
    candidate: Sequence[str], champion: Sequence[str], rule: RatioRule, regions: Regions = ()
) -> GateResult:
    """Compare answers to the same prompts, in the same order; the effect is the ratio of mean words.

    People's taste moves lengths; this stops a collapse or a flood. Fail outside the corridor, inconclusive when the
    interval crosses its edge.
    """
    units = derive_units(len(candidate), regions)
    ours, theirs = (units.add([count_words(answer) for answer in side]) for side in (candidate, champion))
    n, answers = len(units), len(candidate)
    if not sum(theirs):
        return GateResult(
            name="length", verdict="inconclusive", summary="the champion said nothing to compare with", n=n
        )
    low, high = calculate_ratio_interval(ours, theirs)
    outside, inside = high < rule.floor or low > rule.ceiling, rule.floor <= low and high <= rule.ceiling
    return GateResult(
        name="length",
        verdict="fail" if outside else "pass" if inside and n >= rule.least else "inconclusive",
        summary=(
            f"{sum(ours) / answers:.1f} words an answer against the champion's {sum(theirs) / answers:.1f}; "
            f"allowed are {rule.floor:g} to {rule.ceiling:g} times as many{units.told}"
        ),
        effect=sum(ours) / sum(theirs),
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=(Z + Z_POWER) * (high - low) / (2 * Z),
        floor=rule.floor,
        ceiling=rule.ceiling,
    )
