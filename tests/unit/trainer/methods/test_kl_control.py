"""The adaptive KL coefficient."""

import pytest

from services.trainer.domain.guards.kl import next_kl_coefficient


def test_it_rises_above_the_target_falls_below_it_and_rests_at_it():
    assert next_kl_coefficient(0.1, 6.0, target=6.0) == 0.1
    assert next_kl_coefficient(0.1, 6.6, target=6.0) == pytest.approx(0.101)
    assert next_kl_coefficient(0.1, 5.4, target=6.0) == pytest.approx(0.099)


@pytest.mark.parametrize(("kl", "factor"), [(1e6, 1.02), (-1e6, 0.98)])
def test_a_step_moves_it_by_two_percent_at_most(kl: float, factor: float):
    assert next_kl_coefficient(0.1, kl, target=6.0) == pytest.approx(0.1 * factor)


@pytest.mark.parametrize("kl", [float("nan"), float("inf")])
def test_a_kl_that_is_no_number_leaves_it_alone(kl: float):
    assert next_kl_coefficient(0.1, kl, target=6.0) == 0.1


def test_it_brings_a_policy_whose_kl_falls_with_it_to_the_target():
    coefficient = 1e-3
    for _ in range(600):
        coefficient = next_kl_coefficient(coefficient, 0.3 / coefficient, target=6.0)
    assert 0.3 / coefficient == pytest.approx(6.0, rel=0.05)
