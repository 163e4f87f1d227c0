"""Blind comparisons: every prompt is judged twice, with the sides swapped the second time."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.domain.votes.ballots import Vote
from services.evaluator.domain.votes.win_rate import LEAST_TO_PASS, VotingPlan
from shared.events import Message


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
    second ones, which keeps the two looks at one prompt far apart. A pile holds the same prompts for every candidate.
    """
    sides = [champion, *candidates.values()]
    answered = [prompt for prompt in prompts if all(prompt.prompt_hash in side for side in sides)]
    differing = [prompt for prompt in answered if len({side[prompt.prompt_hash].strip() for side in sides}) > 1]
    piles = derive_piles(differing, plan, seed)
    places = [(prompt, candidate) for prompt in answered for candidate in candidates]
    drafts: list[ComparisonDraft] = []
    for look in range(2):
        for prompt, candidate in sorted(places, key=lambda place: _draw_place(seed, str(look), *place)):
            drawn_left = _draw_place(seed, "side", prompt, candidate)[0] % 2 == 0
            is_left = drawn_left if look == 0 else not drawn_left
            both = candidates[candidate][prompt.prompt_hash], champion[prompt.prompt_hash]
            left, right = both if is_left else reversed(both)
            pile = piles.get(prompt.prompt_hash)
            drafts.append(
                ComparisonDraft(prompt.prompt_hash, prompt.messages, left, right, is_left, len(drafts), pile, candidate)
            )
    return drafts


def _draw_place(seed: str, what: str, prompt: GatePrompt, candidate: str) -> bytes:
    return _draw(seed, what, prompt.prompt_hash, *([candidate] if candidate else []))


def derive_piles(prompts: Sequence[GatePrompt], plan: VotingPlan, seed: str) -> dict[str, int]:
    """Share the prompts out in piles, by prompt hash: units of evidence that share no region of prompts.

    For the population a pile is what one rater judges: as many as raters are planned, of like size. For the panel it is
    a region. Regions are cells while there are enough of them for the raters; fewer are no sample of what users ask, so
    that prompts take their place and the result speaks for these regions.
    """
    regions: dict[str, list[str]] = defaultdict(list)
    for prompt in prompts:
        regions[prompt.cell].append(prompt.prompt_hash)
    if len(regions) < max(LEAST_TO_PASS, plan.raters):
        regions = defaultdict(list, {prompt.prompt_hash: [prompt.prompt_hash] for prompt in prompts})
    drawn = sorted(regions, key=lambda name: (-len(regions[name]), _draw(seed, "pile", name)))
    count = min(plan.raters, len(regions)) if plan.estimand == "population" else len(regions)
    sizes = [0] * count
    piles: dict[str, int] = {}
    for name in drawn:
        pile = sizes.index(min(sizes))
        sizes[pile] += len(regions[name])
        piles |= dict.fromkeys(regions[name], pile)
    return piles


def _draw(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()
