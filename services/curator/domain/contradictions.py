"""Pairs that say the opposite of each other."""

import math
from collections import defaultdict

from services.curator.domain.rules import Draft, PreferencePair, calculate_pair_id

NEAR_TIE = 0.7
"""In log-odds: about one `same_user_contrast` against one `choice` is decided, a choice against an edit is not."""

Sides = tuple[str, str]


def derive_states(assessed: list[tuple[Draft, str | None]]) -> list[PreferencePair]:
    """Pairs by id: refused with the given reason; where both directions are claimed, the stronger stands.

    A direction's strength is the sum, over those who say so, of the log-odds of their best evidence. The weaker side is
    refused as `contradicted`; when they are within `NEAR_TIE` of each other, both are contested.
    """
    strength = _calculate_strengths([draft for draft, reason in assessed if reason is None])
    pairs: dict[str, PreferencePair] = {}
    for draft, reason in assessed:
        pair_id = calculate_pair_id(draft)
        pairs[pair_id] = _assess(pair_id, draft, reason, strength)
    return [pairs[pair_id] for pair_id in sorted(pairs)]


def _assess(pair_id: str, draft: Draft, reason: str | None, strength: dict[Sides, float]) -> PreferencePair:
    if reason is not None:
        return PreferencePair(pair_id, draft, "refused", reason)
    ours, theirs = strength[_sides(draft)], strength.get(_sides(draft)[::-1])
    if theirs is None or ours - theirs >= NEAR_TIE:
        return PreferencePair(pair_id, draft, "active", None)
    if theirs - ours >= NEAR_TIE:
        return PreferencePair(pair_id, draft, "refused", "contradicted")
    return PreferencePair(pair_id, draft, "contested", "near_tie")


def _calculate_strengths(drafts: list[Draft]) -> dict[Sides, float]:
    best: dict[Sides, dict[str, float]] = defaultdict(dict)
    for draft in drafts:
        odds = math.log((1 - draft.rule.epsilon) / draft.rule.epsilon)
        said = best[_sides(draft)]
        said[draft.voter] = max(odds, said.get(draft.voter, 0.0))
    return {sides: math.fsum(said.values()) for sides, said in best.items()}


def _sides(draft: Draft) -> Sides:
    return draft.chosen.text.strip(), draft.rejected.text.strip()
