"""Blind comparisons: every prompt is judged twice, with the sides swapped the second time."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.domain.votes.ballots import Vote
from services.evaluator.domain.votes.win_rate import LEAST_TO_PASS, VotingPlan
from shared.events import Message

ROUNDS_APART = 4
"""So many rounds later a panel sees a prompt for the second time."""


@dataclass(frozen=True)
class ComparisonDraft:
    """`position` is the place in the order of offering. Equal answers are a tie that nobody needs to be asked for."""

    prompt_hash: str
    messages: list[Message]
    left: str
    right: str
    candidate_is_left: bool
    position: int
    pile: int | None = None
    candidate: str = ""
    """Whose answer stands against the champion's, where several candidates are judged together."""

    @property
    def settled(self) -> Vote | None:
        return "tie" if self.left.strip() == self.right.strip() else None


def derive_comparisons(
    prompts: Sequence[GatePrompt],
    champion: Mapping[str, str],
    candidate: Mapping[str, str],
    seed: str,
    plan: VotingPlan,
) -> list[ComparisonDraft]:
    """Derive two comparisons for each prompt that both models answered, answers by prompt hash."""
    return derive_tournament(prompts, champion, {"": candidate}, seed, plan)


def derive_tournament(
    prompts: Sequence[GatePrompt],
    champion: Mapping[str, str],
    candidates: Mapping[str, Mapping[str, str]],
    seed: str,
    plan: VotingPlan,
) -> list[ComparisonDraft]:
    """Derive two comparisons with the champion for each candidate and each prompt that all models answered.

    The seed draws which side a candidate takes first and the order of offering: all first looks come before all
    second ones (for a panel, those of a few rounds), which keeps the two looks at one prompt apart. A pile holds the
    same prompts for every candidate.
    """
    sides = [champion, *candidates.values()]
    answered = [prompt for prompt in prompts if all(prompt.prompt_hash in side for side in sides)]
    differing = [prompt for prompt in answered if len({side[prompt.prompt_hash].strip() for side in sides}) > 1]
    piles = derive_piles(differing, plan, seed)
    looks = [(look, prompt, candidate) for look in range(2) for prompt in answered for candidate in candidates]
    looks.sort(key=lambda each: (_find_turn(each[0], piles.get(each[1].prompt_hash), plan), _draw_place(seed, *each)))
    drafts: list[ComparisonDraft] = []
    for look, prompt, candidate in looks:
        drawn_left = _draw_place(seed, "side", prompt, candidate)[0] % 2 == 0
        is_left = drawn_left if look == 0 else not drawn_left
        both = candidates[candidate][prompt.prompt_hash], champion[prompt.prompt_hash]
        left, right = both if is_left else reversed(both)
        pile = piles.get(prompt.prompt_hash)
        drafts.append(
            ComparisonDraft(prompt.prompt_hash, prompt.messages, left, right, is_left, len(drafts), pile, candidate)
        )
    return drafts


def _find_turn(look: int, pile: int | None, plan: VotingPlan) -> int:
    """Return what is offered before what: first looks before second ones, for a panel round by round."""
    if plan.seats is None or pile is None:
        return look
    return pile // plan.seats + look * ROUNDS_APART


def _draw_place(seed: str, what: object, prompt: GatePrompt, candidate: str) -> bytes:
    return _draw(seed, str(what), prompt.prompt_hash, *([candidate] if candidate else []))


def derive_piles(prompts: Sequence[GatePrompt], plan: VotingPlan, seed: str) -> dict[str, int]:
    """Share the prompts out in piles, by prompt hash: what one rater judges, no two of which share a region of prompts.

    For the population there are as many as raters are planned, of like size; for a panel see `derive_rounds`. Regions
    are cells while there are enough of them; fewer are no sample of what users ask, so that prompts take their place
    and the result speaks for these regions.
    """
    regions: dict[str, list[str]] = defaultdict(list)
    for prompt in prompts:
        regions[prompt.cell].append(prompt.prompt_hash)
    if len(regions) < (max(LEAST_TO_PASS, plan.raters) if plan.seats is None else LEAST_TO_PASS * plan.seats):
        regions = defaultdict(list, {prompt.prompt_hash: [prompt.prompt_hash] for prompt in prompts})
    if plan.seats is not None:
        return derive_rounds(regions, plan.seats, seed)
    drawn = sorted(regions, key=lambda name: (-len(regions[name]), _draw(seed, "pile", name)))
    sizes = [0] * min(plan.raters, len(regions))
    piles: dict[str, int] = {}
    for name in drawn:
        pile = sizes.index(min(sizes))
        sizes[pile] += len(regions[name])
        piles |= dict.fromkeys(regions[name], pile)
    return piles


def derive_rounds(regions: Mapping[str, Sequence[str]], seats: int, seed: str) -> dict[str, int]:
    """Draw a panel's rounds: in each every seat has a region of prompts of its own; return the pile by prompt hash.

    A pile's number is the round's times the seats, plus the seat's. Which region a seat has is drawn before anybody
    votes, so that a round's mean over its seats is that of the panel, however each rater leans and whoever comes first.
    """
    drawn = sorted(regions, key=lambda name: _draw(seed, "pile", name))
    rounds = max(1, len(drawn) // seats)
    piles: dict[str, int] = {}
    for place, name in enumerate(drawn):
        left_over = place - rounds * seats
        number = place // seats if left_over < 0 else left_over % rounds
        piles |= dict.fromkeys(regions[name], number * seats + place % seats)
    return piles


def _draw(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()
