"""How often each rule is wrong, measured against audited choices.

A choice is audited when we asked for it and drew the order ourselves: both its answers were solicited. Where an
audited choice of one user and a rule's pair of another speak of the same two texts, they agree or they do not. An audit
errs too, with the epsilon c of a choice, so a rule with epsilon e disagrees with it in d = e(1 - c) + c(1 - e) of the
cases.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.curator.pairs.domain.rules import CHOICE, LABEL_RULES, PAIR_RULES
from services.curator.weighing.domain.history import History, PairEvidence
from services.curator.weighing.domain.noise import combine_errors, remove_error, round_figure

PRIOR_STRENGTH = 20.0
"""The prior of a rule is worth this many comparisons."""
SMALLEST, LARGEST = 0.01, 0.49

Sides = tuple[str, str, str]


@dataclass(frozen=True)
class Calibrated:
    """One line of the calibration table. `audits` is how many comparisons there were, one per user and item."""

    rule: str
    version: int
    prior: float
    audits: int
    disagreed: int
    epsilon: float


def calibrate(pairs: Sequence[PairEvidence], history: History, untrusted: frozenset[str]) -> list[Calibrated]:
    """Derive the calibration table; labels keep their priors, since no audit judges one answer alone.

    Users in `untrusted` neither audit nor are held against their rules: their unreliability is counted elsewhere.
    """
    audits = _collect_audits(pairs, history, untrusted)
    compared = {rule.name: _compare(pairs, history, audits, rule.name, untrusted) for rule in PAIR_RULES}
    audit_epsilon = _calibrate_choice(*compared[CHOICE.name])
    table = []
    for rule in PAIR_RULES:
        count, disagreed = compared[rule.name]
        epsilon = audit_epsilon
        if rule != CHOICE:
            rate = _shrink(combine_errors(rule.epsilon, audit_epsilon), count, disagreed)
            epsilon = _limit(remove_error(rate, audit_epsilon))
        table.append(Calibrated(rule.name, rule.version, rule.epsilon, count, disagreed, epsilon))
    in_pairs = {rule.name for rule in PAIR_RULES}
    alone = [rule for rule in LABEL_RULES if rule.name not in in_pairs]
    return table + [Calibrated(rule.name, rule.version, rule.epsilon, 0, 0, rule.epsilon) for rule in alone]


def _calibrate_choice(count: int, disagreed: int) -> float:
    """Solve d = 2e(1 - e) for e: two choices disagree when one of them is wrong."""
    rate = min(_shrink(combine_errors(CHOICE.epsilon, CHOICE.epsilon), count, disagreed), 0.5)
    return _limit((1 - math.sqrt(1 - 2 * rate)) / 2)


def _shrink(prior_rate: float, count: int, disagreed: int) -> float:
    """Calculate the mean of the Beta posterior."""
    return (disagreed + PRIOR_STRENGTH * prior_rate) / (count + PRIOR_STRENGTH)


def _limit(epsilon: float) -> float:
    return round_figure(min(max(epsilon, SMALLEST), LARGEST))


def _collect_audits(
    pairs: Sequence[PairEvidence], history: History, untrusted: frozenset[str]
) -> dict[Sides, dict[str, bool]]:
    """Collect audits: sides in order -> user -> whether the first side was preferred."""
    audits: dict[Sides, dict[str, bool]] = defaultdict(dict)
    for pair in sorted(pairs, key=lambda pair: pair.content):
        if pair.rule != CHOICE.name or not all(
            event_id in history.feedback and history.feedback[event_id].solicited for event_id in pair.evidence
        ):
            continue
        users = history.list_users(pair.evidence)
        if users[0] is not None and users[0] not in untrusted:
            sides, first = _order(pair)
            audits[sides][users[0]] = first
    return audits


def _compare(
    pairs: Sequence[PairEvidence],
    history: History,
    audits: Mapping[Sides, Mapping[str, bool]],
    rule: str,
    untrusted: frozenset[str],
) -> tuple[int, int]:
    """Count (comparisons, disagreements) of a rule's pairs with the first other user's audit of each item."""
    seen: dict[tuple[Sides, str], bool] = {}
    for pair in sorted(pairs, key=lambda pair: pair.content):
        sides, first = _order(pair)
        users = history.list_users(pair.evidence)
        if pair.rule != rule or sides not in audits or untrusted & {user for user in users if user is not None}:
            continue
        auditor = next((user for user in sorted(audits[sides]) if user not in users), None)
        if auditor is not None:
            seen[sides, "+".join(str(user) for user in users)] = audits[sides][auditor] != first
    return len(seen), sum(seen.values())


def _order(pair: PairEvidence) -> tuple[Sides, bool]:
    chosen, rejected = pair.chosen.strip(), pair.rejected.strip()
    first = chosen < rejected
    return (pair.prompt_hash, min(chosen, rejected), max(chosen, rejected)), first
