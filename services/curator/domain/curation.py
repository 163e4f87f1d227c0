"""Weighing all evidence together: what stands, and how likely each piece of it is wrong.

In order: position bias, reliability of the users (contrary ones are reported before anything is weighed down), rules
against audits, each pair's epsilon, yardsticks, contradictions. A pure function of the history.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from services.curator.domain.calibration import Calibrated, calibrate
from services.curator.domain.centring import assess_centred, calculate_means
from services.curator.domain.contradictions import Claim, Settled, settle
from services.curator.domain.epsilon import combine, round_figure
from services.curator.domain.evidence import Evidence, History, LabelEvidence, PairEvidence, Said
from services.curator.domain.position import PositionBias, correct_for_position, fit_position_bias, is_first_preferred
from services.curator.domain.quarantine import Decisions
from services.curator.domain.reliability import Reliability, estimate_reliability
from services.curator.domain.staleness import calculate_staleness
from services.curator.domain.taste import Taste, derive_tastes
from services.curator.domain.votes import derive_votes

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
    tastes: list[Taste]


def curate(history: History, decisions: Decisions) -> Curated:
    """Every pair and label of the history, weighed; by content, then by users, then by id."""
    pairs = sorted(history.pairs, key=lambda pair: _order(pair, history))
    labels = sorted(history.labels, key=lambda label: _order(label, history))
    position = fit_position_bias(pairs, history)
    votes = derive_votes(pairs, labels, history)
    reliability = estimate_reliability(votes)
    tastes = derive_tastes(votes, reliability)
    contrary = frozenset(name for name, rater in reliability.raters.items() if rater.contrary)
    calibration = calibrate(pairs, history, contrary)
    rules = {line.rule: line.epsilon for line in calibration}
    weighing = Weighing(history, rules, position, reliability)
    settled_pairs = _settle_pairs(_hold_against_means([weighing.weigh_pair(pair) for pair in pairs], history), history)
    settled_labels = _settle_labels([weighing.weigh(label) for label in labels], history)
    return Curated(
        _heed(settled_pairs, decisions),
        _heed(settled_labels, decisions),
        calibration,
        position,
        reliability,
        tastes,
    )


def _order(item: Evidence, history: History) -> tuple[bytes, str, str]:
    return item.content, _name_voter(item, history), item.item_id


def _heed(weighed: list[Weighed[Item]], decisions: Decisions) -> list[Weighed[Item]]:
    """A person settles what is contested, and rejects anything."""
    return [_heed_one(one, decisions) for one in weighed]


def _heed_one(one: Weighed[Item], decisions: Decisions) -> Weighed[Item]:
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
        first = is_first_preferred(pair, self.history)
        return self.weigh(pair, correct_for_position(epsilon, first, self.position))

    def weigh(self, item: Item, epsilon: float | None = None) -> Weighed[Item]:
        raised = self.rules.get(item.rule, item.epsilon) if epsilon is None else epsilon
        for user in self.history.list_users(item.evidence):
            raised = combine(raised, self.reliability.find_excess(user))
        raised = combine(raised, calculate_staleness(item.versions, self.history.ages))
        return Weighed(item, round_figure(raised))


def _hold_against_means(weighed: list[Weighed[PairEvidence]], history: History) -> list[Weighed[PairEvidence]]:
    means, everyone = calculate_means(history.said)
    assessed = []
    for one in weighed:
        said = [history.said[event_id] for event_id in one.item.evidence if event_id in history.said]
        liked, disliked = _divide(said)
        reason = assess_centred(one.item, liked, disliked, means, everyone)
        assessed.append(replace(one, reason=reason))
    return assessed


def _divide(said: Sequence[Said]) -> tuple[list[Said], list[Said]]:
    """(praise, blame): a contrast of different users rests on judgements at either end of the scale only."""
    judged = [one for one in said if one.value is not None]
    return [one for one in judged if (one.value or 0) > 0.5], [one for one in judged if (one.value or 0) < 0.5]


def _settle_pairs(weighed: list[Weighed[PairEvidence]], history: History) -> list[Weighed[PairEvidence]]:
    def claim(one: Weighed[PairEvidence]) -> Claim:
        prompt, voter = one.item.prompt_hash, _name_voter(one.item, history)
        return Claim((prompt, one.item.chosen.strip()), (prompt, one.item.rejected.strip()), voter, one.epsilon)

    return _settle(weighed, [claim(one) for one in weighed if one.reason is None])


def _settle_labels(weighed: list[Weighed[LabelEvidence]], history: History) -> list[Weighed[LabelEvidence]]:
    def claim(one: Weighed[LabelEvidence]) -> Claim:
        subject, said = (one.item.prompt_hash, one.item.completion.strip()), one.item.desirable
        return Claim((*subject, said), (*subject, not said), _name_voter(one.item, history), one.epsilon)

    return _settle(weighed, [claim(one) for one in weighed if one.reason is None])


def _settle(weighed: list[Weighed[Item]], claims: list[Claim]) -> list[Weighed[Item]]:
    """Contradicted ones fall, near-ties are contested, and what stands is as doubtful as its margin says."""
    settled = iter(settle(claims))
    return [one if one.reason else _apply(one, next(settled)) for one in weighed]


def _apply(one: Weighed[Item], settled: Settled) -> Weighed[Item]:
    if settled.standing != "stands":
        return replace(one, reason="contested" if settled.standing == "near_tie" else "contradicted")
    epsilon = one.epsilon
    if settled.margin is not None:
        epsilon = max(epsilon, round_figure(1 / (1 + math.exp(settled.margin))))
    return replace(one, epsilon=epsilon, reason="too_uncertain" if epsilon >= TOO_UNCERTAIN else None)


def _name_voter(item: Evidence, history: History) -> str:
    return "+".join(user or "anonymous" for user in history.list_users(item.evidence))
