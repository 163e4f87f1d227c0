"""Cells and their splits."""

from collections import Counter
from random import Random

from local.simulation.prompts import draw_live_questions
from services.curator.evidence.domain.splitting import derive_cell, derive_split
from services.curator.weighing.domain.near_duplicates import PromptText, find_near_prompts


def test_the_demos_questions_fill_the_splits_about_as_intended() -> None:
    questions = draw_live_questions(1000, Random(1))
    splits = Counter(derive_split(derive_cell([{"role": "user", "content": question.text}])) for question in questions)
    assert 0.15 < splits["gate"] / 1000 < 0.25
    assert 0.05 < splits["validation"] / 1000 < 0.15


def test_the_systems_words_do_not_move_a_prompt() -> None:
    asked = {"role": "user", "content": "Where is my kettle?"}
    assert derive_cell([asked]) == derive_cell([{"role": "system", "content": "You work in a shop."}, asked])


def test_a_cell_is_the_same_for_ever() -> None:
    assert derive_cell([{"role": "user", "content": "Where is my kettle? It should have come by now."}]) == FROZEN


FROZEN = "simhash-v1-3f"


def test_near_copies_of_a_gate_prompt_are_found() -> None:
    gate = [PromptText("g", "Where is my kettle? It should have come by now, I have waited for a week.")]
    near = PromptText("n", "Where is my kettle? It should have come by now, I have waited for a week!!")
    far = PromptText("f", "How do I return the lamp that I bought on Monday in your shop?")
    assert find_near_prompts([near, far], gate) == {"n"}
