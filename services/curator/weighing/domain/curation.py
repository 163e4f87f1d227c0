"""Weighing all evidence together: what stands, and how likely each piece of it is wrong.

In order: position bias, reliability of the users (contrary ones are reported before anything is weighed down), rules
against audits, each pair's epsilon, user means, contradictions. A pure function of the history.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from services.curator.pairs.domain.assessment import Claim, Resolution, resolve_claims
from services.curator.weighing.domain.calibration import Calibrated, calibrate
from services.curator.weighing.domain.history import (
    Decisions,
    Evidence,
    FeedbackRecord,
    History,
    LabelEvidence,
    PairEvidence,
)
from services.curator.weighing.domain.noise import calculate_staleness, combine_errors, round_figure
from services.curator.weighing.domain.position_bias import (
    PositionBias,
    correct_for_position,
    find_known_position,
    fit_position_bias,
)
from services.curator.weighing.domain.preference_clusters import PreferenceCluster, cluster_contrary_users
from services.curator.weighing.domain.reliability import Reliability, estimate_reliability
from services.curator.weighing.domain.scripted_crowds import count_scripts_as_one
from services.curator.weighing.domain.user_means import assess_user_centred, calculate_user_means
from services.curator.weighing.domain.votes import derive_votes

TOO_UNCERTAIN = 0.4
"""A pair with this epsilon has a fifth of the weight of a certain one, and is worth less than the room it takes."""

Item = TypeVar("Item", PairEvidence, LabelEvidence)


@dataclass(frozen=True, slots=True)
class Weighed(Generic[Item]):
    """`reason` says why it does not stand, else None."""

    item: Item
    epsilon: float
    reason: str | None = None


AnyWeighed = Weighed[PairEvidence] | Weighed[LabelEvidence]


@dataclass(frozen=True)
class Curated:
    pairs: list[Weighed[PairEvidence]]
    labels: list[Weighed[LabelEvidence]]
    calibration: list[Calibrated]
    position: PositionBias
    reliability: Reliability
    preference_clusters: list[PreferenceCluster]


def curate(history: History, decisions: Decisions) -> Curated:
    """Weigh every pair and label of the history, in the order of content, users and id."""
    history = count_scripts_as_one(history)
    pairs = sorted(history.pairs, key=lambda pair: _order(pair, history))
    labels = sorted(history.labels, key=lambda label: _order(label, history))
    position = fit_position_bias(pairs, history)
    votes = derive_votes(pairs, labels, history)
    reliability = estimate_reliability(votes)
    clusters = cluster_contrary_users(votes, reliability)
    contrary = frozenset(name for name, rater in reliability.raters.items() if rater.contrary)
    calibration = calibrate(pairs, history, contrary)
    rules = {line.rule: line.epsilon for line in calibration}
    weighing = Weighing(history, rules, position, reliability)
    resolved_pairs = _resolve_pairs(
        _compare_with_user_means([weighing.weigh_pair(pair) for pair in pairs], history), history
    )
    resolved_labels = _resolve_labels([weighing.weigh(label) for label in labels], history)
    return Curated(
        _apply_decisions(resolved_pairs, decisions),
        _apply_decisions(resolved_labels, decisions),
        calibration,
        position,
        reliability,
        clusters,
    )


def _order(item: Evidence, history: History) -> tuple[bytes, str, str]:
    return item.content, _name_voter(item, history), item.item_id


def _apply_decisions(weighed: list[Weighed[Item]], decisions: Decisions) -> list[Weighed[Item]]:
    """Apply people's decisions: they release what is contested and reject anything."""
    return [_apply_decision(one, decisions) for one in weighed]


def _apply_decision(one: Weighed[Item], decisions: Decisions) -> Weighed[Item]:
    if one.item.item_id in decisions.items_rejected:
        return replace(one, reason="rejected")
    released = one.item.item_id in decisions.items_released and one.reason == "contested"
    return replace(one, reason=None) if released else one


@dataclass(frozen=True)
class Weighing:
    """The epsilon of a rule, raised by where the chosen answer stood, by unreliable users, and by old writers."""

    history: History
    rules: Mapping[str, float]
    position: PositionBias
    reliability: Reliability

    def weigh_pair(self, pair: PairEvidence) -> Weighed[PairEvidence]:
        epsilon = self.rules.get(pair.rule, pair.epsilon)
        first = find_known_position(pair, self.history, self.position)
        return self.weigh(pair, correct_for_position(epsilon, first, self.position))

    def weigh(self, item: Item, epsilon: float | None = None) -> Weighed[Item]:
        raised = self.rules.get(item.rule, item.epsilon) if epsilon is None else epsilon
        for user in self.history.list_users(item.evidence):
            raised = combine_errors(raised, self.reliability.find_excess(user))
        raised = combine_errors(raised, calculate_staleness(item.versions, self.history.ages))
        return Weighed(item, round_figure(raised))


def _compare_with_user_means(weighed: list[Weighed[PairEvidence]], history: History) -> list[Weighed[PairEvidence]]:
    means, everyone = calculate_user_means(history.feedback)
    assessed = []
    for one in weighed:
        records = [history.feedback[event_id] for event_id in one.item.evidence if event_id in history.feedback]
        liked, disliked = _split_by_polarity(records)
        reason = assess_user_centred(one.item, liked, disliked, means, everyone)
        assessed.append(replace(one, reason=reason))
    return assessed


def _split_by_polarity(records: Sequence[FeedbackRecord]) -> tuple[list[FeedbackRecord], list[FeedbackRecord]]:
    """Split into (praise, blame): a contrast of different users rests on both ends of the scale only."""
    judged = [one for one in records if one.value is not None]
    return [one for one in judged if (one.value or 0) > 0.5], [one for one in judged if (one.value or 0) < 0.5]


def _resolve_pairs(weighed: list[Weighed[PairEvidence]], history: History) -> list[Weighed[PairEvidence]]:
    def claim(one: Weighed[PairEvidence]) -> Claim:
        prompt, voter = one.item.prompt_hash, _name_voter(one.item, history)
        return Claim((prompt, one.item.chosen.strip()), (prompt, one.item.rejected.strip()), voter, one.epsilon)

    return _resolve(weighed, [claim(one) for one in weighed if one.reason is None])


def _resolve_labels(weighed: list[Weighed[LabelEvidence]], history: History) -> list[Weighed[LabelEvidence]]:
    def claim(one: Weighed[LabelEvidence]) -> Claim:
        subject, desirable = (one.item.prompt_hash, one.item.completion.strip()), one.item.desirable
        return Claim((*subject, desirable), (*subject, not desirable), _name_voter(one.item, history), one.epsilon)

    return _resolve(weighed, [claim(one) for one in weighed if one.reason is None])


def _resolve(weighed: list[Weighed[Item]], claims: list[Claim]) -> list[Weighed[Item]]:
    """Refuse what is contradicted, contest near-ties, and raise epsilon to what the margin says."""
    resolutions = iter(resolve_claims(claims))
    return [one if one.reason else _apply_resolution(one, next(resolutions)) for one in weighed]


def _apply_resolution(one: Weighed[Item], resolution: Resolution) -> Weighed[Item]:
    if resolution.verdict != "stands":
        return replace(one, reason="contested" if resolution.verdict == "near_tie" else "contradicted")
    epsilon = one.epsilon
    if resolution.margin is not None:
        epsilon = max(epsilon, round_figure(1 / (1 + math.exp(resolution.margin))))
    return replace(one, epsilon=epsilon, reason="too_uncertain" if epsilon >= TOO_UNCERTAIN else None)


def _name_voter(item: Evidence, history: History) -> str:
    return "+".join(user or "anonymous" for user in history.list_users(item.evidence))
