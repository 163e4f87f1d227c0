"""The rise in approval, against known truth."""

import numpy as np
import pytest

from local.demo.approval import PairedApproval, calculate_rate, calculate_rise


def test_a_clear_rise_has_its_lower_end_above_zero():
    results = [
        PairedApproval(f"t{template}", before=prompt == 0, after=prompt != 0)
        for template in range(20)
        for prompt in range(5)
    ]
    rise = calculate_rise(results)
    assert (rise.before, rise.after, rise.n) == (0.2, 0.8, 100)
    assert rise.low == pytest.approx(0.6)


def test_one_template_is_no_sample():
    with pytest.raises(ValueError, match="at least two templates"):
        calculate_rise([PairedApproval("only", before=False, after=True)] * 50)


def test_the_interval_covers_the_true_rise_although_prompts_of_a_template_move_together():
    """Claim: the lower end is above the true rise in at most 2.5% of samples (a little more in 600 runs' noise)."""
    rng = np.random.default_rng(7)
    too_high = 0
    for _ in range(600):
        taught = rng.beta(2, 1, size=25)  # how well each template's prompts are answered afterwards: mean 2/3
        results = [
            PairedApproval(str(template), before=bool(rng.random() < 0.2), after=bool(rng.random() < taught[template]))
            for template in range(25)
            for _ in range(4)
        ]
        too_high += calculate_rise(results).low > 2 / 3 - 0.2
    assert too_high / 600 < 0.045


@pytest.mark.parametrize("mean", [0.05, 0.4, 0.8])
def test_a_rates_interval_covers_the_truth_although_prompts_of_a_template_move_together(mean: float):
    """Claim: 95% of intervals cover, less 600 runs' noise; prompts taken as independent would give 80 to 85%."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(600):
        of_template = rng.beta(mean, 1 - mean, size=32)  # most templates are answered nearly always or nearly never
        results = [(str(n), bool(rng.random() < share)) for n, share in enumerate(of_template) for _ in range(4)]
        rate = calculate_rate(results)
        covered += rate.low <= mean <= rate.high
    assert covered / 600 > 0.95 - 0.02


def test_where_all_say_the_same_each_template_counts_once():
    rate = calculate_rate([(f"t{n % 10}", False) for n in range(100)])
    assert (rate.value, rate.low) == (0.0, 0.0)
    assert rate.high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert calculate_rate([(f"t{n % 10}", True) for n in range(100)]).low == pytest.approx(0.025 ** (1 / 10))


def test_a_rate_stays_within_zero_and_one():
    rate = calculate_rate([("a", True)] * 9 + [("b", True), ("b", False)])
    assert rate.value == pytest.approx(10 / 11)
    assert (rate.n, rate.high) == (11, 1.0)
    assert 0.0 <= rate.low <= rate.value
