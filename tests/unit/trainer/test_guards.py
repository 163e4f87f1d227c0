"""Guards: when a run goes on, finishes early, or fails."""

import math

import pytest

from services.trainer.domain.guards import Verdict, assess_metrics

HEALTHY = {"loss": 0.6, "grad_norm": 4.2, "rewards/margins": 0.4, "rewards/accuracies": 0.75}
SATURATED = HEALTHY | {"rewards/margins": 31.0, "rewards/accuracies": 1.0}


def assess(*history: dict[str, float]) -> Verdict:
    return assess_metrics(history, max_gradient_norm=1000.0, max_margin=20.0, patience=3)


def test_a_healthy_run_goes_on():
    assert assess().action == "continue"
    assert assess(*[HEALTHY] * 10).action == "continue"


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_a_figure_that_is_not_finite_stops_the_run(name: str, value: float):
    verdict = assess(HEALTHY, HEALTHY | {name: value})
    assert verdict.action == "stop"
    assert name in verdict.reason


def test_an_exploding_gradient_stops_the_run():
    assert assess(HEALTHY | {"grad_norm": 5e4}) == Verdict("stop", "gradient norm 5e+04 is above 1000")


def test_saturated_margins_finish_the_run_once_they_last():
    assert assess(SATURATED, SATURATED).action == "continue"
    assert assess(SATURATED, HEALTHY, SATURATED).action == "continue"
    assert assess(HEALTHY, SATURATED, SATURATED, SATURATED).action == "finish"


def test_a_high_mean_margin_is_not_saturation_while_a_pair_is_ranked_wrong():
    assert assess(*[SATURATED | {"rewards/accuracies": 0.75}] * 5).action == "continue"
