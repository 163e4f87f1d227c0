"""Histories with a known truth, and policies trained on them side by side."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.epsilon.__main__ import build_loss, calculate_plain  # noqa: E402
from bench.epsilon.histories import Histories, calibrate, draw_flips  # noqa: E402
from bench.epsilon.policies import measure_accuracies  # noqa: E402


def draw(count: int, rate: float) -> Histories:
    return Histories.stack([draw_flips(seed, rate) for seed in range(count)])


def test_flipped_pairs_are_wrong_as_often_as_they_say():
    histories = draw(8, 0.2)
    assert histories.epsilon.mean() == pytest.approx(0.2, abs=0.02)
    for low, high in ((0.0, 0.15), (0.15, 0.35), (0.35, 0.5)):
        among = (histories.epsilon >= low) & (histories.epsilon < high)
        assert histories.wrong[among].mean() == pytest.approx(histories.epsilon[among].mean(), abs=0.05)


def test_calibration_learns_the_truth_from_the_other_half():
    histories = draw(16, 0.2)
    doubled = Histories(*vars(histories).values())
    object.__setattr__(doubled, "epsilon", np.minimum(2 * histories.epsilon, 1.0).astype(np.float32))
    assert np.abs(calibrate(doubled) - histories.epsilon).mean() < 0.03


def test_without_doubt_both_losses_end_at_the_same_policy():
    histories = draw(2, 0.1)
    losses = {"plain": calculate_plain, "ε": build_loss(np.zeros_like(histories.epsilon))}
    found = measure_accuracies(histories, losses, (1, 2), seed=3)
    assert found["ε"] == pytest.approx(found["plain"], abs=2e-3)
    assert found["plain"].shape == (2, 2)
    assert found["plain"].min() > 0.55
