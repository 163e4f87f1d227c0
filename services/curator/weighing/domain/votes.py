"""Votes: what users said of items that others may have voted on too."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.curator.pairs.domain.rules import CHOICE, RATING, REGENERATE, SAME_USER_CONTRAST, THUMB
from services.curator.weighing.domain.history import History, LabelEvidence, PairEvidence
from services.curator.weighing.domain.user_means import calculate_user_means

COMPARING = (CHOICE.name, SAME_USER_CONTRAST.name, REGENERATE.name)
JUDGING = (THUMB.name, RATING.name)

Item = tuple[str, str, str | None]
"""(prompt hash, one text, another text that it is compared with, or None where it is judged alone)."""


@dataclass(frozen=True, slots=True)
class RaterVote:
    """`sign` is 1 if the user is for the item's first text, -1 if against it."""

    user: str
    item: Item
    sign: int
    offset: float = 0.0
    """Log-odds of the user's being for any item at all, above everyone's."""


def derive_votes(pairs: Iterable[PairEvidence], labels: Iterable[LabelEvidence], history: History) -> list[RaterVote]:
    """Derive one vote per user and item, in order; none of users who said both things, nor of anonymous ones.

    - Comparisons: choices, contrasts of one user, praised replacements. An edit is no vote: nobody else can cast it.
    - Judgements: lone thumbs and ratings, from the user's own mean.
    """
    means, everyone = calculate_user_means(history.feedback)
    signs_of: dict[tuple[str, Item], set[int]] = {}
    for pair in pairs:
        user = _find_voter(pair.evidence, history)
        if pair.rule in COMPARING and user is not None:
            item, sign = _compare(pair)
            signs_of.setdefault((user, item), set()).add(sign)
    for label in labels:
        user = _find_voter(label.evidence, history)
        if label.rule in JUDGING and user is not None:
            item = (label.prompt_hash, label.completion.strip(), None)
            signs_of.setdefault((user, item), set()).add(1 if label.desirable else -1)
    return [
        RaterVote(user, item, signs.pop(), _calculate_offset(means, everyone, user) if item[2] is None else 0.0)
        for (user, item), signs in sorted(signs_of.items(), key=_order)
        if len(signs) == 1
    ]


def _order(entry: tuple[tuple[str, Item], set[int]]) -> tuple[str, str, str, str]:
    (user, (prompt_hash, one, other)), _ = entry
    return prompt_hash, one, other or "", user


def _compare(pair: PairEvidence) -> tuple[Item, int]:
    chosen, rejected = pair.chosen.strip(), pair.rejected.strip()
    if chosen < rejected:
        return (pair.prompt_hash, chosen, rejected), 1
    return (pair.prompt_hash, rejected, chosen), -1


def _find_voter(evidence: Sequence[UUID], history: History) -> str | None:
    users = history.list_users(evidence)
    return users[0] if len(users) == 1 else None


def _calculate_offset(means: dict[str, float], everyone: float, user: str) -> float:
    return _logit(means.get(user, everyone)) - _logit(everyone)


def _logit(share: float) -> float:
    kept = min(max(share, 0.02), 0.98)
    return math.log(kept / (1 - kept))
