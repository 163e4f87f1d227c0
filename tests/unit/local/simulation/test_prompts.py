from random import Random

import pytest

from local.simulation.prompts import (
    HELD_OUT_DETAILS,
    HELD_OUT_ITEMS,
    HELD_OUT_TEMPLATES,
    LIVE_DETAILS,
    LIVE_ITEMS,
    LIVE_TEMPLATES,
    draw_held_out_questions,
    draw_live_questions,
)

NEAR = 0.7


def shingle(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[n : n + 3]) for n in range(max(len(words) - 2, 1))}


def calculate_jaccard(left: str, right: str) -> float:
    a, b = shingle(left), shingle(right)
    return len(a & b) / len(a | b)


def test_held_out_questions_share_nothing_with_live_ones() -> None:
    live = {template for templates in LIVE_TEMPLATES.values() for template in templates}
    held_out = {template for templates in HELD_OUT_TEMPLATES.values() for template in templates}
    assert not live & held_out
    assert not set(LIVE_ITEMS) & set(HELD_OUT_ITEMS)
    assert not (set(LIVE_DETAILS) & set(HELD_OUT_DETAILS)) - {""}
    assert max(calculate_jaccard(a, b) for a in live for b in held_out) < 0.3


def test_a_hundred_and_twenty_held_out_questions_use_more_than_twenty_templates() -> None:
    questions = draw_held_out_questions(120, Random(4))
    assert len({question.template for question in questions}) >= 25
    assert len({question.text for question in questions}) == 120


@pytest.mark.parametrize("seed", range(5))
def test_few_live_questions_are_near_copies_of_a_gate_question(seed: int) -> None:
    rng = Random(seed)
    questions = [question.text for question in draw_live_questions(200, rng)]
    gate, train = questions[:40], questions[40:]
    near = [text for text in train if any(calculate_jaccard(text, other) >= NEAR for other in gate)]
    assert len(near) < 0.15 * len(train)


def test_live_questions_differ_and_the_same_seed_asks_the_same() -> None:
    questions = draw_live_questions(600, Random(7))
    assert len({question.text for question in questions}) == 600
    assert questions == draw_live_questions(600, Random(7))


def test_every_template_names_its_article_once() -> None:
    for templates in (*LIVE_TEMPLATES.values(), *HELD_OUT_TEMPLATES.values()):
        assert all(template.count("{item}") == 1 for template in templates)
