"""The table of rules: what each adds to its users' errors, and how its pairs fared against audited choices.

A choice is audited when we asked for it and drew the order ourselves: both its answers were solicited. Where an
audited choice of one user and a rule's pair of another speak of the same two texts, they agree or they do not. A rule's
error is estimated with everything else (`reliability.py`), where audits are votes among others.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.curator.pairs.domain.rules import CHOICE, LABEL_RULES, PAIR_RULES
from services.curator.weighing.domain.history import History, PairEvidence

Sides = tuple[str, str, str]


@dataclass(frozen=True)
class Calibrated:
    """One line of the table. `audits` is how many comparisons there were, one per user and item; `epsilon` the rule's
    own error, beyond its users'."""

    rule: str
    version: int
    prior: float
    audits: int
    disagreed: int
    epsilon: float


def calibrate(
    pairs: Sequence[PairEvidence], history: History, untrusted: frozenset[str], errors: Mapping[str, float]
) -> list[Calibrated]:
    """Derive the table of rules: the error of each, and how often its pairs met an audited choice and disagreed.

    Users in `untrusted` neither audit nor are held against their rules.
    """
    audits = _collect_audits(pairs, history, untrusted)
    table = []
    for rule in PAIR_RULES:
        count, disagreed = _compare(pairs, history, audits, rule.name, untrusted)
        table.append(Calibrated(rule.name, rule.version, rule.epsilon, count, disagreed, errors[rule.name]))
    in_pairs = {rule.name for rule in PAIR_RULES}
    alone = [rule for rule in LABEL_RULES if rule.name not in in_pairs]
    return table + [Calibrated(rule.name, rule.version, rule.epsilon, 0, 0, errors[rule.name]) for rule in alone]


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
