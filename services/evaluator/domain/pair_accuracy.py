"""Does the candidate know which answer users preferred, of pairs that it was never trained on?"""

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from services.evaluator.domain.intervals import Z_POWER, Z, calculate_share_interval
from services.evaluator.domain.rules import AnswerRule
from shared.events import GateResult

NAME = "pair_accuracy"
MATCHED = "pair_accuracy_length_matched"
MATCH = 1.25
"""Answers are of like length when neither has more than so many times the other's tokens."""


class HeldOutPair(msgspec.Struct, frozen=True):
    """A pair of the gate's split; `margin` is how much more the candidate favours the chosen answer than the champion
    does: the difference of both models' log-odds of chosen against rejected, in nats."""

    group: str
    """Its region of prompts: pairs of one region are one piece of evidence."""
    margin: float
    chosen_tokens: int
    rejected_tokens: int

    @property
    def is_matched(self) -> bool:
        fewer, more = sorted((self.chosen_tokens, self.rejected_tokens))
        return more <= MATCH * fewer


def assess_pair_accuracy(pairs: Sequence[HeldOutPair], rule: AnswerRule, matched_rule: AnswerRule) -> list[GateResult]:
    """Assess all pairs, and those alone whose answers are of like length: there a taste for length earns nothing."""
    matched = [pair for pair in pairs if pair.is_matched]
    return [_assess(NAME, "", pairs, rule), _assess(MATCHED, " with answers of like length", matched, matched_rule)]


def _assess(name: str, which: str, pairs: Sequence[HeldOutPair], rule: AnswerRule) -> GateResult:
    groups: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        groups[pair.group].append(0.5 if pair.margin == 0 else float(pair.margin > 0))
    n = len(groups)
    if n < rule.least:
        return GateResult(
            name=name,
            verdict="inconclusive",
            summary=f"{len(pairs)} held-out pairs{which} in {n} regions of prompts; {rule.least} regions are needed",
            n=n,
            more_needed=rule.least - n,
        )
    effect = sum(sum(right) / len(right) for right in groups.values()) / n
    low, high = calculate_share_interval(effect * n, n)
    return GateResult(
        name=name,
        verdict="pass" if low > 0.5 else "fail" if high < 0.5 else "inconclusive",
        summary=(
            f"beside the champion the candidate favours the preferred answer in {effect:.1%} of {len(pairs)} held-out "
            f"pairs{which} (95% interval {low:.1%} to {high:.1%}, {n} regions of prompts)"
        ),
        effect=effect,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=min(0.5, (Z + Z_POWER) / Z * (high - low) / 2),
        floor=0.5,
    )
