"""What an answer costs, in tokens (thoughts included) and in time, beside the champion's."""

from collections.abc import Mapping
from typing import Any

from services.evaluator.domain.intervals import Z_POWER, Z, calculate_ratio_interval
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.regions import derive_units
from services.evaluator.domain.rules import ExpenseRule
from shared.events import GateResult

SIDES = ("candidate", "champion")


def assess_expense(generation: Mapping[str, Any], policy: Policy) -> list[GateResult]:
    """Assess tokens and seconds an answer where both sides' are known; no gate for what was not measured."""
    gates = []
    regions = generation.get("regions", {})
    if (tokens := generation.get("tokens")) is not None:
        gates.append(assess_ratio("cost", "tokens an answer", tokens, policy.cost, regions))
    if (seconds := generation.get("seconds")) is not None:
        gates.append(assess_ratio("latency", "seconds an answer", seconds, policy.latency, regions))
    return gates


def assess_ratio(
    name: str, unit: str, measured: Mapping[str, Any], rule: ExpenseRule, regions: Mapping[str, str] | None = None
) -> GateResult:
    """Pass when the ratio of means is surely at most the ceiling, fail when it is surely above.

    `measured` holds both sides' figures of the same prompts, in the same order, and the prompts' names.
    """
    answers = len(measured["candidate"])
    units = derive_units(answers, [(regions or {}).get(key, key) for key in measured.get("prompts", ())])
    ours = units.add([rule.price_ratio * value for value in measured["candidate"]])
    theirs = units.add(measured["champion"])
    n = len(units)
    if not sum(theirs):
        return GateResult(name=name, verdict="inconclusive", summary="there is nothing to compare with", n=n)
    ratio = sum(ours) / sum(theirs)
    low, high = calculate_ratio_interval(ours, theirs)
    within = high <= rule.ceiling and n >= rule.least
    return GateResult(
        name=name,
        verdict="fail" if low > rule.ceiling else "pass" if within else "inconclusive",
        summary=(
            f"{sum(ours) / answers:.3g} {unit} against the champion's {sum(theirs) / answers:.3g}; allowed are "
            f"{rule.ceiling:g} times as many{units.told}"
        ),
        effect=ratio,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=(Z + Z_POWER) * (high - low) / (2 * Z),
        more_needed=rule.least - n if n < rule.least else None,
        ceiling=rule.ceiling,
    )


def pair_figures(candidate: Mapping[str, float], champion: Mapping[str, float]) -> dict[str, list[Any]] | None:
    """Pair both sides' figures by prompt, with the prompts' names; None where no prompt has both."""
    common = sorted(candidate.keys() & champion.keys())
    if not common:
        return None
    figures: dict[str, list[Any]] = {"prompts": common}
    for side, own in zip(SIDES, (candidate, champion), strict=True):
        figures[side] = [own[key] for key in common]
    return figures
