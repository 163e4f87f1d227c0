"""What the order of presentation says, and of whom it says nothing."""

import random

import pytest

from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History, PairEvidence
from services.curator.weighing.domain.position_bias import fit_position_bias
from services.curator.weighing.domain.votes import name_judgement
from tests.unit.curator.shop_votes import make_history, vote

Vote = tuple[PairEvidence, FeedbackRecord]


def make_choices(
    key_id: str, choices: int, share_first: float, *, start: int = 0, solicited: bool = False
) -> list[Vote]:
    """Right choices, of which this share prefers what was shown first."""
    return [
        vote(
            start + number,
            f"{key_id}{number % 40}",
            start + number,
            first=number < share_first * choices,
            solicited=solicited,
            key_id=key_id,
        )
        for number in range(choices)
    ]


def count_standing(history: History) -> int:
    return sum(one.reason is None for one in curate(history, Decisions()).pairs)


@pytest.mark.parametrize("solicited", [False, True])
def test_a_front_end_that_names_the_winner_first_costs_no_choice(solicited: bool) -> None:
    history = make_history(make_choices("lazy", 360, 320 / 360, solicited=solicited))
    assert fit_position_bias(history.pairs, history).strength == 0
    assert count_standing(history) == 360


def test_one_lazy_client_takes_nothing_from_the_others() -> None:
    lazy = make_choices("lazy", 300, 1.0)
    careful = make_choices("careful", 200, 0.5, start=1_000, solicited=True)
    history = make_history(lazy + careful)
    bias = fit_position_bias(history.pairs, history)
    assert (bias.sorted_by, bias.choices, bias.strength) == (("lazy",), 200, 0)
    assert count_standing(history) == 500


def test_front_ends_that_name_the_winner_first_are_found_though_each_has_few_choices() -> None:
    lazy = [one for key in range(30) for one in make_choices(f"lazy-{key}", 12, 1.0, start=100 * key, solicited=True)]
    fair = make_choices("fair", 100, 0.5, start=5_000, solicited=True)
    history = make_history(lazy + fair)
    bias = fit_position_bias(history.pairs, history)
    assert (len(bias.sorted_by), bias.choices, bias.strength) == (30, 100, 0)
    assert count_standing(history) == 460


def test_few_choices_of_many_keys_prove_nothing_where_people_are_biased() -> None:
    asked = [one for key in range(30) for one in make_choices(f"k{key}", 10, 0.7, start=100 * key, solicited=True)]
    history = make_history(asked)
    assert fit_position_bias(history.pairs, history).sorted_by == ()


def test_a_real_bias_of_people_is_measured_where_we_drew_the_order_and_taken_off_everywhere() -> None:
    asked = make_choices("asked", 1_000, 0.7, solicited=True)
    own = make_choices("own", 100, 0.5, start=5_000)
    history = make_history(asked + own)
    bias = fit_position_bias(history.pairs, history)
    assert (bias.choices, bias.sorted_by) == (1_000, ())
    assert bias.strength == pytest.approx(0.4, abs=0.03)
    doubts = curate(history, Decisions()).reliability.doubts
    alone = {pair.pair_id: doubts[name_judgement(pair, history)].alone for pair in history.pairs}
    assert alone["pair-005000"] > 0.25
    assert alone["pair-005099"] < 0.1


def test_orders_of_a_front_end_are_no_evidence_of_bias() -> None:
    history = make_history(make_choices("own", 400, 0.7))
    assert fit_position_bias(history.pairs, history).choices == 0


def test_biased_people_before_whom_orders_are_random_are_not_taken_for_a_client_that_sorts() -> None:
    rng = random.Random(4)
    flagged = 0
    for _ in range(200):
        found = [vote(number, "ines", number, first=rng.random() < 0.75, solicited=True) for number in range(60)]
        history = make_history(found)
        flagged += bool(fit_position_bias(history.pairs, history).sorted_by)
    assert flagged == 0
