"""What an answer costs, in tokens (thoughts included) and in time, beside the champion's."""

from collections.abc import Mapping
from typing import Any

from services.evaluator.domain.intervals import Z_POWER, Z, calculate_ratio_interval
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.rules import ExpenseRule
from shared.events import GateResult

SIDES = ("candidate", "champion")


def assess_expense(generation: Mapping[str, Any], policy: Policy) -> list[GateResult]:
    """Assess tokens and seconds an answer where both sides' are known; no gate for what was not measured."""
    gates = []
    if (tokens := generation.get("tokens")) is not None:
        gates.append(assess_ratio("cost", "tokens an answer", tokens, policy.cost))
    if (seconds := generation.get("seconds")) is not None:
        gates.append(assess_ratio("latency", "seconds an answer", seconds, policy.latency))
    return gates


def assess_ratio(name: str, unit: str, measured: Mapping[str, list[float]], rule: ExpenseRule) -> GateResult:
    """Pass when the ratio of means is surely at most the ceiling, fail when it is surely above.

    `measured` holds both sides' figures of the same prompts, in the same order.
    """
    ours = [rule.price_ratio * value for value in measured["candidate"]]
    theirs = [float(value) for value in measured["champion"]]
    n = len(ours)
    if not sum(theirs):
        return GateResult(name=name, verdict="inconclusive", summary="there is nothing to compare with", n=n)
    ratio = sum(ours) / sum(theirs)
    low, high = calculate_ratio_interval(ours, theirs)
    within = high <= rule.ceiling and n >= rule.least
    return GateResult(
        name=name,
        verdict="fail" if low > rule.ceiling else "pass" if within else "inconclusive",
        summary=(
            f"{sum(ours) / n:.3g} {unit} against the champion's {sum(theirs) / n:.3g}; allowed are "
            f"{rule.ceiling:g} times as many"
        ),
        effect=ratio,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=(Z + Z_POWER) * (high - low) / (2 * Z),
        more_needed=rule.least - n if n < rule.least else None,
        ceiling=rule.ceiling,
    )


def pair_figures(candidate: Mapping[str, float], champion: Mapping[str, float]) -> dict[str, list[float]] | None:
    """Pair both sides' figures by prompt; None where no prompt has both."""
    common = sorted(candidate.keys() & champion.keys())
    if not common:
        return None
    return {side: [own[key] for key in common] for side, own in zip(SIDES, (candidate, champion), strict=True)}
