"""Weighing all evidence together: what stands, and how likely each piece of it is wrong.

In order: position bias; users, rules and each pair's epsilon in one likelihood (contrary users are reported by
cluster); rules against audits; user means; contradictions. A pure function of the history.
"""

from collections.abc import Sequence
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
from services.curator.weighing.domain.position_bias import PositionBias, fit_position_bias
from services.curator.weighing.domain.preference_clusters import PreferenceCluster, cluster_contrary_users
from services.curator.weighing.domain.reliability import Reliability, estimate_reliability
from services.curator.weighing.domain.scripted_crowds import count_scripts_as_one
from services.curator.weighing.domain.user_means import assess_user_centred, calculate_user_means
from services.curator.weighing.domain.votes import derive_judgements, name_judgement

TOO_UNCERTAIN = 0.4
"""A pair with this epsilon has a fifth of the weight of a certain one, and is worth less than the room it takes."""

Item = TypeVar("Item", PairEvidence, LabelEvidence)


@dataclass(frozen=True, slots=True)
class Weighed(Generic[Item]):
    """`reason` says why it does not stand, else None.

    `epsilon` is the probability that it is wrong, all evidence known; where it does not stand, by itself alone.
    """

    item: Item
    epsilon: float
    reason: str | None = None
    known: float = 0.5
    """Probability that it is wrong, all evidence known."""


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
    judgements = derive_judgements([*pairs, *labels], history, position)
    reliability = estimate_reliability(judgements, decisions.users_released)
    clusters = cluster_contrary_users([one for one in judgements if one.is_vote], reliability)
    contrary = frozenset(name for name, rater in reliability.raters.items() if rater.contrary)
    calibration = calibrate(pairs, history, contrary, reliability.rule_errors)
    resolved_pairs = _resolve_pairs(_compare_with_user_means(_weigh(pairs, reliability, history), history), history)
    resolved_labels = _resolve_labels(_weigh(labels, reliability, history), history)
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


def _weigh(items: Sequence[Item], reliability: Reliability, history: History) -> list[Weighed[Item]]:
    """Give each its judgement's doubt, raised by old writers; `epsilon` is by itself alone, to weigh contradictions."""
    weighed = []
    for item in items:
        doubt = reliability.doubts[name_judgement(item, history)]
        stale = calculate_staleness(item.versions, history.ages)
        known = round_figure(combine_errors(doubt.known, stale))
        weighed.append(Weighed(item, round_figure(combine_errors(doubt.alone, stale)), known=known))
    return weighed


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
        prompt, (voter, crowd) = one.item.prompt_hash, _name_claimant(one.item, history)
        return Claim((prompt, one.item.chosen.strip()), (prompt, one.item.rejected.strip()), voter, one.epsilon, crowd)

    return _resolve(weighed, [claim(one) for one in weighed if one.reason is None])


def _resolve_labels(weighed: list[Weighed[LabelEvidence]], history: History) -> list[Weighed[LabelEvidence]]:
    def claim(one: Weighed[LabelEvidence]) -> Claim:
        subject, desirable = (one.item.prompt_hash, one.item.completion.strip()), one.item.desirable
        voter, crowd = _name_claimant(one.item, history)
        return Claim((*subject, desirable), (*subject, not desirable), voter, one.epsilon, crowd)

    return _resolve(weighed, [claim(one) for one in weighed if one.reason is None])


def _resolve(weighed: list[Weighed[Item]], claims: list[Claim]) -> list[Weighed[Item]]:
    """Refuse what is contradicted, contest near-ties, and give the rest the epsilon that all evidence leaves it."""
    resolutions = iter(resolve_claims(claims))
    return [one if one.reason else _apply_resolution(one, next(resolutions)) for one in weighed]


def _apply_resolution(one: Weighed[Item], resolution: Resolution) -> Weighed[Item]:
    if resolution.verdict != "stands":
        return replace(one, reason="contested" if resolution.verdict == "near_tie" else "contradicted")
    return replace(one, epsilon=one.known, reason="too_uncertain" if one.known >= TOO_UNCERTAIN else None)


def _name_voter(item: Evidence, history: History) -> str:
    return "+".join(user or "anonymous" for user in history.list_users(item.evidence))


def _name_claimant(item: Evidence, history: History) -> tuple[str, str | None]:
    """Name (who claims it, the crowd whose one voice that is a part of; None: nobody's but their own)."""
    voter = _name_voter(item, history)
    members = [one.member for event_id in item.evidence if (one := history.feedback.get(event_id)) is not None]
    if not members or None in members:
        return voter, None
    return "+".join(sorted({member for member in members if member is not None})), voter
