"""Which prompts are used, and how they are shown."""

from collections import Counter

from services.evaluator.domain.prompts import GatePrompt, choose_prompts
from services.evaluator.domain.votes.comparisons import derive_comparisons, derive_piles
from services.evaluator.domain.votes.win_rate import VotingPlan
from shared.conversation import derive_dialogue
from tests.builders import MORNING


def gate_prompt(number: int, cell: str = "cell") -> GatePrompt:
    messages = [
        {"role": "system", "content": "You are the shop's assistant."},
        {"role": "user", "content": f"Where is my order number {number}?"},
    ]
    return GatePrompt(f"hash-{number:03}", cell, messages, MORNING)


PLAN = VotingPlan(raters=16)
PROMPTS = [gate_prompt(number) for number in range(40)]
OURS = {prompt.prompt_hash: f"ours to {prompt.prompt_hash}" for prompt in PROMPTS}
THEIRS = {prompt.prompt_hash: f"theirs to {prompt.prompt_hash}" for prompt in PROMPTS}


def test_each_prompt_is_shown_twice_with_its_sides_swapped() -> None:
    drafts = derive_comparisons(PROMPTS, THEIRS, OURS, "seed", PLAN)
    assert len(drafts) == 80
    first, second = drafts[:40], drafts[40:]
    swapped = {draft.prompt_hash: draft for draft in second}
    for draft in first:
        twin = swapped[draft.prompt_hash]
        assert (twin.left, twin.right, twin.candidate_is_left) == (
            draft.right,
            draft.left,
            not draft.candidate_is_left,
        )
        assert (draft.left if draft.candidate_is_left else draft.right) == OURS[draft.prompt_hash]


def test_the_candidate_is_left_about_as_often_as_right_at_the_first_look() -> None:
    sides = Counter(draft.candidate_is_left for draft in derive_comparisons(PROMPTS, THEIRS, OURS, "seed", PLAN)[:40])
    assert 10 <= sides[True] <= 30


def test_the_same_seed_draws_the_same_and_another_seed_another() -> None:
    assert derive_comparisons(PROMPTS, THEIRS, OURS, "a", PLAN) == derive_comparisons(PROMPTS, THEIRS, OURS, "a", PLAN)
    assert derive_comparisons(PROMPTS, THEIRS, OURS, "a", PLAN) != derive_comparisons(PROMPTS, THEIRS, OURS, "b", PLAN)


def test_a_prompt_that_one_model_did_not_answer_is_not_shown() -> None:
    assert derive_comparisons(PROMPTS, THEIRS, {"hash-007": "ours"}, "seed", PLAN)[0].prompt_hash == "hash-007"
    assert len(derive_comparisons(PROMPTS, THEIRS, {"hash-007": "ours"}, "seed", PLAN)) == 2


def test_equal_answers_are_a_tie_without_asking() -> None:
    drafts = derive_comparisons(PROMPTS[:1], {"hash-000": "Same."}, {"hash-000": "Same. "}, "seed", PLAN)
    assert [draft.settled for draft in drafts] == ["tie", "tie"]


def test_every_cell_has_its_turn_before_any_cell_has_a_second() -> None:
    crowd = [gate_prompt(number, "crowded") for number in range(30)]
    rare = [gate_prompt(number, f"rare-{number}") for number in range(30, 34)]
    chosen = choose_prompts(crowd + rare, 6, seed=1)
    assert Counter(prompt.cell == "crowded" for prompt in chosen) == {False: 4, True: 2}
    assert chosen == choose_prompts(list(reversed(rare + crowd)), 6, seed=1)


def test_a_prompt_that_asks_nothing_is_left_out() -> None:
    silent = GatePrompt("silent", "cell", [{"role": "system", "content": "Be kind."}], MORNING)
    assert choose_prompts([silent], 5, seed=0) == []


def test_parts_that_are_no_text_do_not_count_as_words() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:..."}}]
    assert derive_dialogue([{"role": "user", "content": parts}, {"role": "assistant"}]) == "What is this?"


def test_a_pile_is_one_raters_and_regions_are_never_split_while_there_are_enough() -> None:
    crowd = [gate_prompt(number, f"region-{number % 20}") for number in range(40)]
    piles = derive_piles(crowd, PLAN, "seed")
    assert set(piles.values()) == set(range(16))
    assert len({(prompt.cell, piles[prompt.prompt_hash]) for prompt in crowd}) == 20


def test_too_few_regions_are_no_sample_so_prompts_are_shared_out() -> None:
    sizes = Counter(derive_piles(PROMPTS, PLAN, "seed").values())
    assert sorted(sizes.values()) == [2] * 8 + [3] * 8
