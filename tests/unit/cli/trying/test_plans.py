"""How long it may take, how it trains, and how many answers there is time for."""

from dataclasses import replace

import pytest

from cli.trying.answering import LEAST_ANSWERS, MOST_ANSWERS, choose_length, count_affordable
from cli.trying.clock import Clock, parse_budget
from cli.trying.recipes import (
    LEAST_ROWS,
    choose_passes,
    choose_rate,
    draft_recipe,
    draft_reward_recipe,
    explain_thin,
    shorten,
)
from local.errors import StackFailed
from services.trainer.domain.planning.suggestion import Holdings
from shared.errors import InvalidRequest

NOTHING = Holdings(pairs=0, validation_pairs=0, answers=0, liked=0, disliked=0)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("20m", 1200.0), ("1.5h", 5400.0)])
def test_a_budget_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "m", "9s", "-1m", "1d", "1m30s", "nan s", "٣m"])
def test_anything_else_is_an_error_that_shows_how(text: str) -> None:
    with pytest.raises(StackFailed, match="20m"):
        parse_budget(text)


def test_each_line_says_what_has_passed_of_the_budget() -> None:
    said: list[str] = []
    times = iter([100.0, 175.0, 1400.0])
    clock = Clock(1200.0, said.append, lambda: next(times))
    clock.say("training")
    assert said == ["[1:15 of 20:00] training"]
    assert clock.left == 0.0


@pytest.mark.parametrize(
    ("parameters", "rate"), [(None, 1e-4), (800_000, 5e-3), (135_000_000, 2e-3), (7_000_000_000, 2.8e-4)]
)
def test_the_rate_falls_with_the_model_s_size(parameters: int | None, rate: float) -> None:
    assert choose_rate(parameters) == pytest.approx(rate)


def test_few_rows_are_gone_over_more_often() -> None:
    assert choose_passes(10) == 8.0
    assert choose_passes(120) == 4.0
    assert choose_passes(10_000) == 2.0


def test_the_method_follows_from_what_the_file_holds() -> None:
    pairs = Holdings(pairs=200, validation_pairs=0, answers=0, liked=0, disliked=0)
    labels = Holdings(pairs=0, validation_pairs=0, answers=0, liked=150, disliked=90)
    assert draft_recipe(pairs, 10**8).method == "dpo"
    assert draft_recipe(labels, 10**8).method == "kto"
    assert draft_reward_recipe(100, 10**8).method == "reward"
    with pytest.raises(InvalidRequest, match="nothing to learn"):
        draft_recipe(NOTHING, 10**8)


def test_a_run_is_shortened_to_what_fits_and_no_further() -> None:
    assert shorten(100, 1.0, 500.0) is None
    assert shorten(100, 1.0, 50.0) == 50
    assert shorten(100, 1.0, -5.0) == 1
    assert shorten(100, 0.0, 1.0) is None


def test_answers_are_as_many_as_there_is_time_for_within_bounds() -> None:
    assert count_affordable(1.0, 100.0, 2) == 50
    assert count_affordable(100.0, 1.0, 2) == LEAST_ANSWERS
    assert count_affordable(0.0, 100.0, 2) == MOST_ANSWERS


def test_the_length_is_that_of_the_file_s_own_answers() -> None:
    assert choose_length([]) == 256
    assert choose_length(["short"]) == 48
    assert choose_length(["x" * 350] * 10) == 110


@pytest.mark.parametrize(
    ("holdings", "is_enough"),
    [
        (NOTHING, False),
        (replace(NOTHING, liked=500), False),
        (replace(NOTHING, liked=500, pairs=1), False),
        (replace(NOTHING, liked=500, disliked=1), False),
        (replace(NOTHING, pairs=LEAST_ROWS - 1), False),
        (replace(NOTHING, pairs=LEAST_ROWS), True),
        (replace(NOTHING, liked=10, disliked=10), True),
        (replace(NOTHING, answers=LEAST_ROWS), True),
    ],
    ids=["nothing", "thumbs up", "one pair", "one thumb down", "few pairs", "pairs", "both thumbs", "corrections"],
)
def test_the_rows_of_the_method_that_would_train_are_what_counts(holdings: Holdings, is_enough: bool) -> None:
    told = explain_thin(holdings)
    assert (told is None) is is_enough
    assert told is None or f"{holdings.pairs} pairs, {holdings.liked} liked" in told
