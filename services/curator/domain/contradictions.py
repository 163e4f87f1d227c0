"""Claims that say the opposite of each other."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.curator.domain.rules import Draft, PreferencePair, calculate_pair_id

NEAR_TIE = 0.7
"""In log-odds: about one `same_user_contrast` against one `choice` is decided, a choice against an edit is not."""
SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says `one` of a subject, where others may say `other`; wrong with probability `epsilon`."""

    one: Hashable
    other: Hashable
    voter: str
    epsilon: float


@dataclass(frozen=True, slots=True)
class Settled:
    """`margin` is by how much, in log-odds, what is claimed is stronger than its opposite; None if unopposed."""

    standing: Literal["stands", "contradicted", "near_tie"]
    margin: float | None = None


def settle(claims: Sequence[Claim]) -> list[Settled]:
    """How each claim stands, in their order: the stronger of two opposites stands, near-ties do not.

    The strength of one side is the sum, over those who say so, of the log-odds of the best that each has to offer.
    """
    strength = _calculate_strengths(claims)
    return [_settle(strength[claim.one, claim.other], strength.get((claim.other, claim.one))) for claim in claims]


def _settle(ours: float, theirs: float | None) -> Settled:
    if theirs is None:
        return Settled("stands")
    margin = ours - theirs
    if margin >= NEAR_TIE:
        return Settled("stands", margin)
    return Settled("contradicted" if margin <= -NEAR_TIE else "near_tie", margin)


def _calculate_strengths(claims: Iterable[Claim]) -> dict[tuple[Hashable, Hashable], float]:
    best: dict[tuple[Hashable, Hashable], dict[str, float]] = defaultdict(dict)
    for claim in claims:
        epsilon = max(claim.epsilon, SMALLEST)
        said = best[claim.one, claim.other]
        said[claim.voter] = max(math.log((1 - epsilon) / epsilon), said.get(claim.voter, 0.0))
    return {sides: math.fsum(said.values()) for sides, said in best.items()}


def derive_states(assessed: list[tuple[Draft, str | None]]) -> list[PreferencePair]:
    """Pairs of one prompt by id: refused with the given reason; where both directions are claimed, see `settle`."""
    open_drafts = [draft for draft, reason in assessed if reason is None]
    settled = iter(settle([_claim(draft) for draft in open_drafts]))
    pairs: dict[str, PreferencePair] = {}
    for draft, reason in assessed:
        pair_id = calculate_pair_id(draft)
        pairs[pair_id] = (
            PreferencePair(pair_id, draft, "refused", reason) if reason else _stand(pair_id, draft, next(settled))
        )
    return [pairs[pair_id] for pair_id in sorted(pairs)]


def _claim(draft: Draft) -> Claim:
    return Claim(draft.chosen.text.strip(), draft.rejected.text.strip(), draft.voter, draft.rule.epsilon)


def _stand(pair_id: str, draft: Draft, settled: Settled) -> PreferencePair:
    match settled.standing:
        case "stands":
            return PreferencePair(pair_id, draft, "active", None)
        case "contradicted":
            return PreferencePair(pair_id, draft, "refused", "contradicted")
        case _:
            return PreferencePair(pair_id, draft, "contested", "near_tie")
