"""What `bench.train` concludes from its figures."""

import math

import pytest

from bench.train.conclusions import estimate_ratio, sum_up


def make_run(seconds: float) -> dict[str, object]:
    return {"seconds": seconds, "steps": [seconds / 2, seconds], "total_seconds": seconds + 1, "peak_mib": 900.0}


def test_a_ratio_is_the_geometric_mean_of_the_pairs_with_its_interval() -> None:
    mean, low, high = estimate_ratio([2.0, 4.0, 2.0, 4.0], [1.0, 2.0, 2.0, 1.0])
    assert mean == pytest.approx(2.0)
    deviation = math.log(2) * math.sqrt(2 / 3)  # of the logarithms: log 2, log 2, 0, 2 log 2
    margin = 3.182446 * deviation / math.sqrt(4)  # Student's t with 3 degrees of freedom
    assert (low, high) == pytest.approx((2 * math.exp(-margin), 2 * math.exp(margin)), rel=1e-3)


def test_an_overhead_is_met_only_if_its_whole_interval_is_below_the_goal() -> None:
    tuned = [make_run(seconds) for seconds in (10.0, 10.1, 9.9, 10.0)]
    plain = [make_run(seconds) for seconds in (20.0, 20.1, 19.9, 20.2)]
    learning = {"plain": [(1, 0.5)], "tuned": [(1, 0.5), (2, 0.7)], "padded": [], "ours": [(1, 0.9)]}
    ours = [make_run(seconds) for seconds in (10.0, 10.1, 10.0, 9.9)]
    for padded, met in (((10.1, 10.2, 10.0, 10.1), True), ((9.0, 11.0, 9.0, 12.0), False)):
        runs = {"plain": plain, "tuned": tuned, "padded": [make_run(seconds) for seconds in padded], "ours": ours}
        rows, goals = sum_up(runs, learning, tokens=1000)
        assert [goal.met for goal in goals] == [met, True]
        times = {row.name: row.median for row in rows if "time to" in row.name}
        assert list(times) == [
            "tuned: time to 65% of validation pairs ranked right (step 2)",
            "ours: time to 65% of validation pairs ranked right (step 1)",
        ]
