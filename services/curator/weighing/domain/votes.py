"""Judgements: what was said of items that others may have spoken of too, and which of them are votes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.curator.pairs.domain.rules import CHOICE, EDIT, RATING, REGENERATE, SAME_USER_CONTRAST, THUMB
from services.curator.weighing.domain.history import Evidence, History, PairEvidence
from services.curator.weighing.domain.position_bias import PositionBias, find_favoured_strength
from services.curator.weighing.domain.user_means import calculate_user_means

COMPARING = (CHOICE.name, SAME_USER_CONTRAST.name, REGENERATE.name)
JUDGING = (THUMB.name, RATING.name)

Item = tuple[str, str, str | None]
"""(prompt hash, one text, another text that it is compared with, or None where it is judged alone)."""
Key = tuple[Item, int, tuple[str | None, ...]]
"""(item, sign, who says so)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`sign` is 1 if it is for the item's first text, else -1. `rule` is the best of those that it rests on."""

    users: tuple[str | None, ...]
    item: Item
    sign: int
    rule: str
    offset: float = 0.0
    """Log-odds of the user's being for any item at all, above everyone's."""
    by_position: float = 0.0
    """Strength of the position bias, if what was preferred stood where people prefer; else 0."""
    is_vote: bool = True
    """One known user's, on an item on which others could vote, and the user did not say the opposite as well."""

    @property
    def user(self) -> str:
        """Name the user of a vote; nobody, where the events that it rests on are gone."""
        return next(iter(self.users), None) or ""

    @property
    def key(self) -> Key:
        return self.item, self.sign, self.users


def name_judgement(evidence: Evidence, history: History) -> Key:
    """Name the judgement that a pair or a label is."""
    users = tuple(history.list_users(evidence.evidence))
    if isinstance(evidence, PairEvidence):
        return *_compare(evidence), users
    return (evidence.prompt_hash, evidence.completion.strip(), None), 1 if evidence.desirable else -1, users


def derive_judgements(evidence: Iterable[Evidence], history: History, bias: PositionBias) -> list[Judgement]:
    """Derive one judgement for all that the same users say of the same item, in the order of items and users.

    - Comparisons are votes: choices, contrasts of one user, praised replacements. Nobody else can cast an edit.
    - So are judgements of one answer: lone thumbs and ratings, from the user's own mean.
    """
    means, everyone = calculate_user_means(history.feedback)
    strongest: dict[Key, Evidence] = {}
    for one in evidence:
        key = name_judgement(one, history)
        if key not in strongest or _rank(one) < _rank(strongest[key]):
            strongest[key] = one
    judgements = []
    for key in sorted(strongest, key=_order):
        item, sign, users = key
        one = strongest[key]
        offset = _calculate_offset(means, everyone, users) if item[2] is None else 0.0
        by_position = find_favoured_strength(one, history, bias) if isinstance(one, PairEvidence) else 0.0
        votes = _can_vote(one, users) and (item, -sign, users) not in strongest
        judgements.append(Judgement(users, item, sign, one.rule, offset, by_position, votes))
    return judgements


def _rank(one: Evidence) -> tuple[float, str, bytes]:
    return one.epsilon, one.rule, one.content


def _can_vote(one: Evidence, users: Sequence[str | None]) -> bool:
    rules = COMPARING if isinstance(one, PairEvidence) else JUDGING
    return one.rule in rules and len(users) == 1 and users[0] is not None


def _order(key: Key) -> tuple[str, str, str, list[str], int]:
    (prompt_hash, one, other), sign, users = key
    return prompt_hash, one, other or "", [user or "" for user in users], sign


def _compare(pair: PairEvidence) -> tuple[Item, int]:
    chosen, rejected = pair.chosen.strip(), pair.rejected.strip()
    if chosen < rejected:
        return (pair.prompt_hash, chosen, rejected), 1
    return (pair.prompt_hash, rejected, chosen), -1


def _calculate_offset(means: Mapping[str, float], everyone: float, users: Sequence[str | None]) -> float:
    return _logit(means.get(users[0] or "", everyone) if users else everyone) - _logit(everyone)


def _logit(share: float) -> float:
    kept = min(max(share, 0.02), 0.98)
    return math.log(kept / (1 - kept))


def is_modelled(judgement: Judgement) -> bool:
    """Say whether the preference model may speak of it: it has seen answers, but no text of a user's own."""
    return judgement.rule != EDIT.name
