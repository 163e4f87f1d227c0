"""Gates on the answers themselves."""

import pytest

from services.evaluator.domain.measures.texts import is_repetitive
from services.evaluator.domain.rules import MarginRule, RatioRule
from services.evaluator.domain.sanity import assess_empty, assess_length, assess_repetition
from shared.answers import count_words, is_empty

MARGIN, RATIO = MarginRule(), RatioRule()
GOOD = "Your toaster left our warehouse on Monday; reply with your order number and I will chase the courier."
CHINESE = "您好,您的台灯周一已经从仓库发出。请回复订单号,我会联系快递公司查询,并在今天之内把结果告诉您。"
LOOP = "I am sorry to hear that. " * 8


@pytest.mark.parametrize("answer", ["", " \n", "...", "—", "_"])
def test_an_answer_without_a_letter_is_empty(answer: str) -> None:
    assert is_empty(answer)


@pytest.mark.parametrize("answer", [LOOP, "no no no no no no", "a" * 30, "!" * 20, "你好" * 200, "ha" * 30])
def test_an_endless_answer_is_repetitive(answer: str) -> None:
    assert is_repetitive(answer)


def test_a_chinese_answer_is_as_long_as_it_has_characters() -> None:
    assert count_words("您的台灯已发出。") == len("您的台灯已发出") + 1


@pytest.mark.parametrize("answer", [GOOD, "Thank you, thank you!", "Step 1: pack it. Step 2: send it.", CHINESE, ""])
def test_a_plain_answer_is_neither_empty_nor_repetitive(answer: str) -> None:
    assert not is_repetitive(answer)
    assert is_empty(answer) == (answer == "")


def test_a_candidate_that_falls_silent_fails() -> None:
    gate = assess_empty([""] * 15 + [GOOD] * 45, [GOOD] * 60, MARGIN)
    assert gate.verdict == "fail"
    assert gate.effect == 0.25
    assert gate.summary.startswith("15 of the candidate's and 0 of the champion's 60 answers are empty")


def test_a_few_loops_more_than_the_champion_are_inconclusive() -> None:
    assert assess_repetition([LOOP] * 4 + [GOOD] * 56, [GOOD] * 60, MARGIN).verdict == "inconclusive"


def test_a_single_loop_among_sixty_answers_is_no_reason_to_stop() -> None:
    assert assess_repetition([LOOP] + [GOOD] * 59, [GOOD] * 60, MARGIN).verdict == "pass"


def test_no_more_loops_than_the_champion_passes() -> None:
    assert assess_repetition([LOOP] * 3 + [GOOD] * 37, [LOOP] * 5 + [GOOD] * 35, MARGIN).verdict == "pass"


def test_shorter_answers_pass_as_long_as_they_say_something() -> None:
    gate = assess_length([GOOD] * 60, [GOOD * 4] * 60, RATIO)
    assert gate.verdict == "pass"
    assert gate.summary.startswith("18.0 words an answer against the champion's 69.0")


def test_one_word_answers_to_everything_fail() -> None:
    assert assess_length(["Yes."] * 60, [GOOD] * 60, RATIO).verdict == "fail"


def test_a_flood_of_words_fails() -> None:
    assert assess_length([GOOD * 5] * 60, [GOOD] * 60, RATIO).verdict == "fail"


def test_without_answers_no_gate_passes() -> None:
    assert [gate([], [], MARGIN).verdict for gate in (assess_empty, assess_repetition)] == ["inconclusive"] * 2
    assert assess_length([], [], RATIO).verdict == "inconclusive"


def test_a_length_of_almost_three_times_the_champions_never_passes() -> None:
    lengths = [f"{GOOD} " * count for count in (2, 3, 4)] * 20
    gate = assess_length([*lengths[:-1], f"{GOOD} " * 2], [GOOD] * 60, RATIO)
    assert gate.effect == pytest.approx(2.97, abs=0.01)
    assert gate.verdict == "fail"


@pytest.mark.parametrize("n", [1, 5, 10, 19, 36])
def test_a_small_sample_passes_nothing(n: int) -> None:
    gates = [assess_empty([GOOD] * n, [GOOD] * n, MARGIN), assess_length([GOOD] * n, [GOOD] * n, RATIO)]
    assert [gate.verdict for gate in gates] == ["inconclusive", "inconclusive" if n < 20 else "pass"]
    assert (gates[0].more_needed or 0) > 0
