"""The loss that knows how likely each pair is the wrong way round."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from services.trainer.adapters.methods.epsilon import average_losses, calculate_noisy_losses  # noqa: E402

margins = st.floats(-1e4, 1e4)
doubts = st.floats(0.0, 0.999)


def measure(margin: float, epsilon: float) -> tuple[float, float]:
    """(loss, slope) of one pair, in single precision as in training."""
    margin_b = torch.tensor([margin], requires_grad=True)
    loss_b = calculate_noisy_losses(margin_b, torch.tensor([epsilon]))
    loss_b.sum().backward()
    assert margin_b.grad is not None
    return loss_b.item(), margin_b.grad.item()


@given(margins)
def test_without_doubt_it_is_plain_dpo_in_value_and_slope(margin: float):
    plain = torch.tensor([margin], requires_grad=True)
    expected = -F.logsigmoid(plain)
    expected.sum().backward()
    assert plain.grad is not None
    assert measure(margin, 0.0) == pytest.approx((expected.item(), plain.grad.item()), rel=1e-5, abs=1e-7)


@given(margins, doubts)
def test_value_and_slope_are_finite_for_every_doubt_and_margin(margin: float, epsilon: float):
    assert all(math.isfinite(figure) for figure in measure(margin, epsilon))


@given(margins, doubts)
def test_it_is_never_negative(margin: float, epsilon: float):
    assert measure(margin, epsilon)[0] >= -1e-4


@given(margins, doubts)
def test_it_never_pushes_a_margin_down(margin: float, epsilon: float):
    assert measure(margin, epsilon)[1] <= 0.0


@given(st.floats(0.01, 0.5), st.floats(20.0, 1e4))
def test_a_doubtful_pair_comes_to_rest_at_both_ends(epsilon: float, margin: float):
    assert abs(measure(margin, epsilon)[1]) < 1e-6
    assert abs(measure(-margin, epsilon)[1]) < 1e-5


@given(doubts)
def test_where_nothing_is_known_yet_every_pair_is_as_steep_as_in_plain_dpo(epsilon: float):
    assert measure(0.0, epsilon)[1] == pytest.approx(-0.5, rel=1e-3)


@given(st.floats(-30.0, -0.1), st.floats(0.01, 0.5))
def test_a_doubtful_pair_that_the_model_contradicts_pulls_less_than_a_certain_one(margin: float, epsilon: float):
    assert abs(measure(margin, epsilon)[1]) < abs(measure(margin, 0.0)[1])


def test_the_slope_is_the_losses_derivative():
    margin_b = torch.linspace(-8, 8, 33, dtype=torch.float64, requires_grad=True)
    for epsilon in (0.0, 0.05, 0.3, 0.5, 0.9):
        epsilon_b = torch.full_like(margin_b, epsilon, requires_grad=False)
        assert torch.autograd.gradcheck(lambda m, e=epsilon_b: calculate_noisy_losses(m, e), margin_b)


def test_the_last_pairs_of_a_pass_count_as_much_as_the_first(tmp_path):
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, gradient_accumulation_steps=3, use_cpu=True, report_to="none"
    )
    full = average_losses(torch.ones(4), arguments, 3) / 3 / 4
    last = average_losses(torch.ones(2), arguments, 1) / 1 / 2
    assert last == pytest.approx(full.item()) == pytest.approx(1 / 12)
    assert average_losses(torch.ones(2), arguments, None) == 1.0
