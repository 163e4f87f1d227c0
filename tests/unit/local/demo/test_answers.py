import pytest

from local.demo.answers import calculate_distinct_2, calculate_mean_words


def test_distinct_2_is_one_when_no_pair_of_words_returns_and_falls_as_answers_repeat_themselves():
    assert calculate_distinct_2(["we check the order", "send a photo"]) == 1.0
    assert calculate_distinct_2(["we check the order"] * 4) == 0.25
    assert calculate_distinct_2(["The order", "the order"]) == 0.5
    assert calculate_distinct_2(["", "one"]) == 0.0


def test_mean_words_counts_an_empty_answer_as_none():
    assert calculate_mean_words(["one two three", ""]) == pytest.approx(1.5)
