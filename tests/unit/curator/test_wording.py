"""What an edit or a choice changes, in any script and in code."""

import time

import pytest

from services.curator.pairs.domain.pairing import derive_group
from services.curator.pairs.domain.rules import Answer
from services.curator.pairs.domain.wording import derive_tokens, derive_units
from shared.events import AnyFeedback, Edit, FeedbackReceived, Thumb
from tests.builders import make_choice, make_feedback, make_id

PRICES = " ".join(f"word{n}" for n in range(154))


def derive(before: str, *events: FeedbackReceived, after: str = "") -> list[str | None]:
    """Reasons why the pairs of a prompt with these answers are refused; None for a pair that stands."""
    answers = {make_id(n): Answer(make_id(n), "p" * 64, text, "1", "ines") for n, text in ((1, before), (2, after))}
    return [pair.reason for pair in derive_group(answers, list(events)).pairs]


def say(event: int, about: int, feedback: AnyFeedback) -> FeedbackReceived:
    return make_feedback(event, about, feedback, user="ines")


@pytest.mark.parametrize(
    "before, after",
    [
        ("请您稍后再试", "请您明天上午再试"),
        ("您的台灯已经发货", "您的台灯周一已经发货"),
        ("少々お待ちください", "明日までお待ちください"),
        ("กรุณารอสักครู่", "กรุณารอถึงพรุ่งนี้"),
        ("가능합니다", "불가능합니다"),
        ("x = -5", "x = 5"),
        ("if age >= 5:\n    go()", "if age < 5:\n    go()"),
        ("return None", "return not None"),
        ("value = none()", "value = None()"),
        ("Bring a coat, a hat and a scarf", "Bring:\n- a coat\n- a hat\n- and a scarf"),
        ("First unplug it. Then open it.", "First unplug it.\nThen open it."),
        ("It costs 15 euros", "It costs 1.5 euros"),
        ("if x:\n    a()\n    b()", "if x:\n    a()\nb()"),
        ("for x in xs:\n    a\n    b", "for x in xs:\n    a\nb"),
        ("return true", "return True"),
        ("Unpack it with tar -c", "Unpack it with tar -C"),
        ("Ship to us", "Ship to US"),
    ],
)
def test_an_edit_that_changes_what_is_said_stands(before: str, after: str) -> None:
    assert derive(before, say(1, 1, Edit(text=after))) == [None]


@pytest.mark.parametrize(
    "before, after, reason",
    [
        ("请您稍后再试", "请您稍后再试。", "trivial_edit"),
        ("Sorry, it is late.", "sorry it is  late!", "trivial_edit"),
        ("\tx = 5\n\ty = 6", "    x = 5\n    y = 6\n", "trivial_edit"),
        ("It is late. We are sorry", " it is late.  we are sorry ", "trivial_edit"),
        ("请您稍后再试", "我们没有货物", "edit_out_of_bounds"),
        ("请您稍后再试", "请" * 500, "edit_out_of_bounds"),
        ("请您稍后再试", "请" * 4_001, "too_long"),
    ],
)
def test_an_edit_that_changes_nothing_or_everything_is_refused_in_any_script(
    before: str, after: str, reason: str
) -> None:
    assert derive(before, say(1, 1, Edit(text=after))) == [reason]


def test_a_choice_between_long_answers_with_one_wrong_price_stands() -> None:
    assert derive(f"{PRICES} 19", say(1, 1, make_choice(1, 2)), after=f"{PRICES} 91") == [None]
    assert derive(f"{PRICES} blue", say(1, 1, make_choice(1, 2)), after=f"{PRICES} red") == [None]


@pytest.mark.parametrize(
    "good, bad, reason",
    [
        (f"{PRICES} 19", f"{PRICES} 91", None),
        ("x = 5", "x = -5", None),
        (f"{PRICES} blue", f"{PRICES} red", "near_identical"),
        ("您好,您的台灯已经发货。", "您好,您的台灯已经发货", "near_identical"),
    ],
)
def test_a_contrast_is_near_identical_unless_a_number_or_sign_differs(good: str, bad: str, reason: str | None) -> None:
    events = say(1, 1, Thumb(value="up")), say(2, 2, Thumb(value="down"))
    assert derive(good, *events, after=bad) == [reason]


def test_each_han_character_counts_and_words_of_other_scripts_count_once() -> None:
    assert derive_units("您好 Anna, 再见 2x") == ["您", "好", "anna", "再", "见", "2x"]


@pytest.mark.parametrize("hostile", [" ", ".", "a.", "\n ", "!? ", "请"])
def test_reading_tokens_costs_what_a_texts_length_costs(hostile: str) -> None:
    def measure(times: int) -> float:
        start = time.process_time()
        derive_tokens("a" + hostile * times + "b")
        return time.process_time() - start

    assert measure(200_000) < 2.0
