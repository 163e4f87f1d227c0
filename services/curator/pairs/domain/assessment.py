"""Which drafts become active pairs: first their quality, then what contradicts them."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.curator.pairs.domain.rules import CHOICE, EDIT, Answer, Draft, PreferencePair, calculate_pair_id
from services.curator.pairs.domain.wording import (
    derive_language,
    derive_units,
    is_near_identical,
    says_the_same,
    share_anything,
)

NEAR_IDENTICAL = 0.9
"""Shared runs of three tokens. High on purpose: one changed word (a weekday) may be what the user cared for."""
LONGEST_UNITS = 4_000
"""Words, or characters of scripts that divide no words."""
EDIT_LENGTH_RATIO = 10.0
"""An edit this many times longer or shorter is another answer, or a note, rather than a correction."""
EDIT_SLACK_UNITS = 40
"""Below this many units any length of an edit is fine."""


def assess_quality(draft: Draft, vetoed: set[object]) -> str | None:
    """Give the first reason to refuse a draft, or None.

    - an answer that failed, or a side without words
    - one that a filter cut or replaced: its text is not the model's
    - one that called tools, or was thought about first: its text is not all that the model wrote
    - a complaint stands against the chosen answer, or a limit cut it off, or nobody knows why it ended
    - a side longer than any answer that a model is trained on
    - an edit that changes no word, number, sign or line, or is out of all proportion
    - sides that say the same; of a choice, only the very same text, for whoever compared them saw a difference
    - sides in two languages, unless the user compared them on purpose: it would teach the language, not the answer
    """
    if draft.reason:
        return draft.reason
    for side in (draft.rejected, draft.chosen):
        if isinstance(side, Answer) and has_failed(side):
            return "filtered" if side.ending == "filtered" and not side.error else "error_answer"
        if isinstance(side, Answer) and side.untold:
            return side.untold
    chosen, rejected = draft.chosen.text, draft.rejected.text
    lengths = len(derive_units(chosen)), len(derive_units(rejected))
    if not lengths[0]:
        return "emptied_edit" if draft.rule == EDIT else "empty"
    if not lengths[1]:
        return "empty"
    if isinstance(draft.chosen, Answer) and draft.chosen.interaction_id in vetoed:
        return "complaint"
    if isinstance(draft.chosen, Answer) and draft.chosen.ending != "whole":
        return "truncated" if draft.chosen.ending == "cut_off" else "unknown_ending"
    if max(lengths) > LONGEST_UNITS:
        return "too_long"
    if draft.rule == EDIT:
        return _assess_edit(chosen, rejected, lengths)
    if draft.rule == CHOICE:
        return "same_answer" if chosen.strip() == rejected.strip() else None
    if is_near_identical(chosen, rejected, NEAR_IDENTICAL):
        return "near_identical"
    return _assess_languages(derive_language(chosen), derive_language(rejected))


def has_failed(answer: Answer) -> bool:
    """Tell whether an answer is none of the model's: it failed, or a filter cut or replaced it."""
    return answer.error is not None or answer.ending in ("failed", "filtered")


def _assess_languages(chosen: str | None, rejected: str | None) -> str | None:
    return "different_languages" if chosen and rejected and chosen != rejected else None


def _assess_edit(after: str, before: str, lengths: tuple[int, int]) -> str | None:
    if says_the_same(after, before):
        return "trivial_edit"
    longer, shorter = max(lengths), min(lengths)
    if longer > EDIT_SLACK_UNITS and longer > EDIT_LENGTH_RATIO * shorter:
        return "edit_out_of_bounds"
    return None if share_anything(after, before) else "edit_out_of_bounds"


NEAR_TIE = 0.7
"""In log-odds: about one `same_user_contrast` against one `choice` is decided, a choice against an edit is not."""
SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says `one` of a subject, where others may say `other`; wrong with probability `epsilon`.

    What the voters of a `crowd` say is said by one voice, their majority's.
    """

    one: Hashable
    other: Hashable
    voter: str
    epsilon: float
    crowd: str | None = None


Sides = tuple[Hashable, Hashable]


@dataclass(frozen=True, slots=True)
class Resolution:
    """`margin` is by how much, in log-odds, what is claimed is stronger than its opposite; None if unopposed."""

    verdict: Literal["stands", "contradicted", "near_tie"]
    margin: float | None = None


def resolve_claims(claims: Sequence[Claim]) -> list[Resolution]:
    """Resolve claims, in their order: the stronger of two opposites stands, near-ties do not.

    The strength of one side is the sum, over those who say so, of the log-odds of the best that each has to offer. A
    crowd adds what its voters on this side are stronger than its voters on the other, and no more than one of them.
    """
    strength = _calculate_strengths(claims)
    return [_resolve(strength[claim.one, claim.other], strength.get((claim.other, claim.one))) for claim in claims]


def _resolve(ours: float, theirs: float | None) -> Resolution:
    if theirs is None:
        return Resolution("stands")
    margin = ours - theirs
    if margin >= NEAR_TIE:
        return Resolution("stands", margin)
    return Resolution("contradicted" if margin <= -NEAR_TIE else "near_tie", margin)


def _calculate_strengths(claims: Iterable[Claim]) -> dict[Sides, float]:
    best: dict[Sides, dict[str | None, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for claim in claims:
        epsilon = max(claim.epsilon, SMALLEST)
        strongest = best[claim.one, claim.other][claim.crowd]
        strongest[claim.voter] = max(math.log((1 - epsilon) / epsilon), strongest.get(claim.voter, 0.0))
    return {(one, other): _add_up(crowds, best.get((other, one), {})) for (one, other), crowds in best.items()}


def _add_up(ours: Mapping[str | None, Mapping[str, float]], theirs: Mapping[str | None, Mapping[str, float]]) -> float:
    """Add up voters of one side, by crowd; None is the crowd of those who speak for themselves."""
    leads = [
        min(max(math.fsum(voters.values()) - math.fsum(theirs.get(crowd, {}).values()), 0.0), max(voters.values()))
        for crowd, voters in ours.items()
        if crowd is not None
    ]
    return math.fsum([*ours.get(None, {}).values(), *leads])


def derive_states(assessed: list[tuple[Draft, str | None]]) -> list[PreferencePair]:
    """Derive the pairs of one prompt, by id; a draft with a reason is refused, contradictions are resolved."""
    open_drafts = [draft for draft, reason in assessed if reason is None]
    resolutions = iter(resolve_claims([_claim(draft) for draft in open_drafts]))
    pairs: dict[str, PreferencePair] = {}
    for draft, reason in assessed:
        pair_id = calculate_pair_id(draft)
        pairs[pair_id] = (
            PreferencePair(pair_id, draft, "refused", reason)
            if reason
            else _derive_state(pair_id, draft, next(resolutions))
        )
    return [pairs[pair_id] for pair_id in sorted(pairs)]


def _claim(draft: Draft) -> Claim:
    return Claim(draft.chosen.text.strip(), draft.rejected.text.strip(), draft.voter, draft.rule.epsilon)


def _derive_state(pair_id: str, draft: Draft, resolution: Resolution) -> PreferencePair:
    match resolution.verdict:
        case "stands":
            return PreferencePair(pair_id, draft, "active", None)
        case "contradicted":
            return PreferencePair(pair_id, draft, "refused", "contradicted")
        case _:
            return PreferencePair(pair_id, draft, "contested", "near_tie")
