"""Which gate questions count as trained on."""

import pytest

from services.evaluator.domain.contamination import TrainingTexts, assess_contamination, collides
from services.evaluator.domain.rules import ContaminationRule

LEAKED = "The zipper of my rain jacket broke on the second day and the shop in town would not take it back."


def template(item: str) -> str:
    return f"I have been waiting two weeks for the {item} I ordered from you."


def test_the_same_words_collide_whatever_their_case_and_punctuation() -> None:
    training = TrainingTexts.index(["where IS my parcel"])
    assert collides("Where is my parcel?", training)


def test_a_question_quoted_inside_a_longer_training_prompt_collides() -> None:
    training = TrainingTexts.index([f"A customer wrote to us today. {LEAKED} What should I answer?"])
    assert collides(LEAKED, training)


def test_a_question_with_one_word_changed_near_its_end_collides() -> None:
    training = TrainingTexts.index([LEAKED.replace("it back", "them back")])
    assert collides(LEAKED, training)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_two_questions_of_one_template_are_not_the_same_question(copies: int) -> None:
    items = ["toaster", "kettle", "garden chair", "lamp", "rug"][:copies]
    training = TrainingTexts.index([template(item) for item in items])
    assert not collides(template("bicycle"), training)


def test_a_long_instruction_shared_by_every_prompt_is_boilerplate() -> None:
    instruction = "Answer the customer's question below in a friendly tone and do not promise anything about money. "
    training = TrainingTexts.index(
        [instruction + question for question in ("Where is my rug?", "Is the lamp in stock?", "Can I pay later?")]
    )
    assert not collides(instruction + "My kettle leaks.", training)


def test_a_short_greeting_inside_a_training_prompt_does_not_collide() -> None:
    assert not collides("Hello there", TrainingTexts.index(["Hello there, where is my parcel?"]))


def test_copies_of_a_leaked_question_do_not_hide_it_as_boilerplate() -> None:
    training = TrainingTexts.index([f"{LEAKED} {ending}" for ending in ("Please help.", "Thanks.", "What now?")])
    assert collides(LEAKED, training)


@pytest.mark.parametrize(("colliding", "verdict"), [(0, "pass"), (1, "pass"), (2, "fail")])
def test_more_than_one_in_a_hundred_is_blocked(colliding: int, verdict: str) -> None:
    gate = assess_contamination(100, colliding, 500, ContaminationRule())
    assert gate.verdict == verdict
    assert gate.effect == colliding / 100


@pytest.mark.parametrize(("examined", "texts"), [(0, 500), (100, 0)])
def test_nothing_to_compare_is_inconclusive(examined: int, texts: int) -> None:
    assert assess_contamination(examined, 0, texts, ContaminationRule()).verdict == "inconclusive"
