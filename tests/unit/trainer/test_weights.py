"""How much a pair counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.domain.pair_weights import calculate_pair_weights
from shared.errors import InvalidRequest


def test_a_pair_that_may_as_well_be_wrong_weighs_nothing():
    assert calculate_pair_weights([0.0, 0.5]) == [2.0, 0.0]


@given(st.lists(st.floats(0.0, 0.49), min_size=1, max_size=50))
def test_weights_have_mean_one_over_the_dataset(epsilons: list[float]):
    weights = calculate_pair_weights(epsilons)
    assert sum(weights) / len(weights) == pytest.approx(1.0)


@pytest.mark.parametrize("epsilons", [[], [0.5, 0.5], [-0.1], [0.6]])
def test_a_dataset_that_says_nothing_or_lies_outside_the_range_is_refused(epsilons: list[float]):
    with pytest.raises(InvalidRequest):
        calculate_pair_weights(epsilons)
