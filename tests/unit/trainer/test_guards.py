"""Guards: when a run goes on, finishes early, or fails."""

import math

import numpy as np
import pytest

from services.trainer.domain.guards.reward_hacking import calculate_distinct_2
from services.trainer.domain.guards.rules import assess_metrics, assess_validation, mark_skipped_step, settle_roll_back
from services.trainer.domain.guards.verdict import Metrics, Verdict
from services.trainer.domain.recipe.sections import Guards

HEALTHY = {"loss": 0.6, "grad_norm": 4.2, "rewards/margins": 0.4, "rewards/accuracies": 0.75}
SATURATED = HEALTHY | {"rewards/margins": 31.0, "rewards/accuracies": 1.0}


GUARDS = Guards(patience=3, max_kl=2.0, eval_patience=2)


def assess(*steps: Metrics) -> Verdict:
    return assess_metrics(steps, GUARDS)


def series(name: str, *values: float, **others: float) -> list[dict[str, float]]:
    return [HEALTHY | others | {name: value} for value in values]


def test_a_healthy_run_goes_on():
    assert assess().action == "continue"
    assert assess(*[HEALTHY] * 10).action == "continue"


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_a_figure_that_is_not_finite_rolls_the_run_back(name: str, value: float):
    verdict = assess(HEALTHY, HEALTHY | {name: value})
    assert verdict.action == "roll back"
    assert name in verdict.reason


def test_a_step_that_fp16_skips_breaks_no_run_but_nothing_else_does():
    skipped = mark_skipped_step(HEALTHY | {"grad_norm": math.inf}, "fp16")
    assert assess(HEALTHY, skipped).action == "continue"
    assert assess(*[skipped] * 5).action == "continue"
    assert assess(*[skipped] * 6).action == "stop"
    assert assess(*[skipped] * 5, HEALTHY, skipped).action == "continue"
    for precision, broken in (("bf16", {"grad_norm": math.inf}), ("fp16", {"loss": math.nan})):
        assert assess(HEALTHY, mark_skipped_step(HEALTHY | broken, precision)).action == "roll back"


def test_an_exploding_gradient_rolls_the_run_back():
    assert assess(HEALTHY | {"grad_norm": 5e4}) == Verdict("roll back", "gradient norm 5e+04 is above 1000")


def test_saturated_margins_finish_the_run_once_they_last():
    assert assess(SATURATED, SATURATED).action == "continue"
    assert assess(SATURATED, HEALTHY, SATURATED).action == "continue"
    assert assess(HEALTHY, SATURATED, SATURATED, SATURATED).action == "finish"


def test_a_high_mean_margin_is_not_saturation_while_a_pair_is_ranked_wrong():
    assert assess(*[SATURATED | {"rewards/accuracies": 0.75}] * 5).action == "continue"


@pytest.mark.parametrize("name", ["kl", "objective/kl"])
def test_a_kl_above_twice_its_ceiling_stops_the_run_once_its_mean_is(name: str):
    assert assess(*series(name, 0.1, 0.2, 5.0)).action == "continue"
    assert assess(*series(name, 3.0, 4.0, 5.3)) == Verdict("stop", "KL 4.1 nats is above 2")
    assert assess_metrics(series(name, 50.0, 50.0, 50.0), Guards(patience=3)).action == "continue"


def test_a_kl_between_its_ceiling_and_twice_that_is_adjusted_a_few_times_before_it_stops_the_run():
    high = series("kl", 3.0, 3.0, 3.0)
    adjusted = [*high[:-1], high[-1] | {"guards/adjust": 1.0}]
    assert assess(*high) == Verdict("adjust", "KL 3 nats is above 2")
    assert assess(*adjusted, *high[:2]).action == "continue"  # the mean still holds what came before
    assert assess(*adjusted, *high).action == "adjust"
    assert assess(*adjusted, *series("kl", 9.0)).action == "stop"
    assert assess(*adjusted * 3, *high) == Verdict("stop", "KL 3 nats is above 2 after 3 adjustments")


def test_a_roll_back_without_a_good_checkpoint_or_one_too_many_stops_the_run():
    wanted = Verdict("roll back", "loss is nan")

    def settle(done: int, has_checkpoint: bool) -> Verdict:
        return settle_roll_back(wanted, done=done, guards=GUARDS, has_checkpoint=has_checkpoint)

    assert settle(1, True) == wanted
    assert settle(0, False) == Verdict("stop", "loss is nan")
    assert settle(2, True) == Verdict("stop", "loss is nan after 2 returns to a checkpoint")


@pytest.mark.parametrize(("name", "reward"), [("entropy", "reward"), ("policy/entropy_avg", "objective/scores")])
def test_an_entropy_fallen_below_a_share_of_its_start_stops_a_sampling_run(name: str, reward: str):
    falling = [3.0, 3.0, 3.0, 1.0, 0.2, 0.2, 0.2]
    assert assess(*series(name, *falling[:-1], **{reward: 1.0})).action == "continue"
    verdict = assess(*series(name, *falling, **{reward: 1.0}))
    assert verdict == Verdict("stop", "entropy 0.2 nats is below 10% of its start 3")
    assert assess(*series(name, *falling)).action == "continue"  # imitation may narrow a policy as far as it likes


@pytest.mark.parametrize(
    "equal",
    [
        {"max_reward": 0.5, "min_reward": 0.5},
        {"reward_std": 0.0},
        {"reward_std": 0.3, "frac_reward_zero_std": 1.0},
    ],
)
def test_rewards_that_no_longer_differ_stop_the_run_once_that_lasts(equal: dict[str, float]):
    spread = HEALTHY | {"max_reward": 0.5, "min_reward": -0.5, "reward_std": 0.3, "frac_reward_zero_std": 0.5}
    if "reward_std" in equal:
        spread = HEALTHY | {"reward_std": 0.3, "frac_reward_zero_std": 0.5}
    assert assess(*[spread] * 5).action == "continue"
    assert assess(spread | equal, spread, spread | equal, spread | equal).action == "continue"
    assert assess(*[spread | equal] * 3).action == "stop"


def test_a_gradient_norm_far_above_its_running_median_rolls_the_run_back_once_that_lasts():
    assert assess(*series("grad_norm", 1, 1, 1, 400, 1, 400)).action == "roll back"  # the median of the last three
    assert assess(*series("grad_norm", 1, 1, 1, 1, 1, 400)).action == "continue"
    assert assess(*series("grad_norm", 10, 10, 10, 200, 200, 200)).action == "continue"
    assert assess(*series("grad_norm", 400, 400, 400)).action == "continue"


def test_waking_up_from_almost_no_gradient_is_no_explosion():
    assert assess(*series("grad_norm", 1e-6, 1e-6, 1e-6, 2, 2, 2)).action == "continue"


def test_a_validation_loss_that_no_longer_falls_finishes_the_run():
    def validate(*losses: float) -> Verdict:
        return assess_validation([{"eval_loss": loss} for loss in losses], [], GUARDS)

    assert validate().action == "continue"
    assert validate(0.7, 0.6, 0.65).action == "continue"
    assert validate(0.7, 0.6, 0.65, 0.59).action == "continue"
    verdict = validate(0.7, 0.6, 0.65, 0.61)
    assert verdict == Verdict("finish", "validation loss 0.61, no better than 0.6 for 2 measurements")


def test_distinct_2_is_the_share_of_different_bigrams():
    assert calculate_distinct_2([[1, 2, 1, 2], [1, 2]]) == 0.5
    assert calculate_distinct_2([[1], []]) == 1.0


def test_answers_far_longer_or_shorter_than_at_the_start_stop_the_run():
    name = "completions/mean_length"
    assert assess(*series(name, 20, 20, 20, 70, 70, 70)).action == "continue"
    verdict = assess(*series(name, 20, 20, 20, 90, 90, 90))
    assert verdict == Verdict("stop", "answers of 90 tokens, from 20 at the start: beyond a factor of 4")
    assert assess(*series(name, 20, 20, 20, 4, 4, 4)).action == "stop"


def test_answers_that_repeat_themselves_stop_the_run():
    name = "completions/distinct_2"
    assert assess(*series(name, 0.9, 0.9, 0.9, 0.3, 0.3, 0.3)).action == "continue"
    verdict = assess(*series(name, 0.9, 0.9, 0.9, 0.2, 0.2, 0.2))
    assert verdict == Verdict("stop", "distinct bigrams 20.0% are below 30% of their start 90.0%")


def test_a_reward_that_rises_while_people_prefer_the_less_likely_answers_stops_the_run():
    rising = series("objective/scores", 0, 0, 0, 2, 2, 2)

    def validate(*shares: float, steps: list[dict[str, float]] = rising) -> Verdict:
        return assess_validation([{"eval_preference": share} for share in shares], steps, GUARDS)

    assert validate(0.6, 0.8, 0.5, 0.5).action == "continue"  # it has to last for three measurements
    assert validate(0.6, 0.8, 0.5, 0.7, 0.5).action == "continue"
    verdict = validate(0.6, 0.8, 0.5, 0.6, 0.4)
    assert verdict.action == "stop"
    assert verdict.reason == "reward rose from 0 to 2 while the validation preference fell from 80.0% to 40.0%"
    assert validate(0.6, 0.8, 0.5, 0.6, 0.4, steps=rising[::-1]).action == "continue"


def test_under_one_in_a_hundred_healthy_noisy_runs_is_stopped():
    generator = np.random.default_rng(0)
    stopped = sum(is_stopped(generator) for _ in range(1000))
    assert stopped < 10


def is_stopped(generator: np.random.Generator, steps: int = 100) -> bool:
    """A run of `rloo` that goes well: figures that drift the healthy way, under noise as single batches have it."""
    guards = Guards(max_kl=0.5)
    done = np.linspace(0, 1, steps)
    columns = {
        "loss": generator.normal(0, 1, steps),
        "grad_norm": generator.lognormal(0.0, 1.0, steps) * 2 ** generator.uniform(-3, 3),
        "kl": 0.25 * done + generator.normal(0, 0.15, steps),
        "entropy": (3.0 - 2.0 * done) * generator.lognormal(0.0, 0.3, steps),
        "reward": done + generator.normal(0, 1, steps),
        "reward_std": generator.lognormal(-1.0, 1.0, steps),
        "completions/mean_length": (40 + 30 * done) * generator.lognormal(0.0, 0.4, steps),
        "completions/distinct_2": (0.9 - 0.3 * done) * generator.uniform(0.6, 1.1, steps),
        "frac_reward_zero_std": generator.binomial(1, 0.1, steps).astype(float),
    }
    entries = [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    shares = (0.6 + 0.1 * done[::10] + generator.normal(0, 0.04, steps // 10)).tolist()
    measurements = [{"eval_preference": share} for share in shares]
    verdicts = [assess_metrics(entries[:end], guards) for end in range(1, steps + 1)]
    verdicts += [
        assess_validation(measurements[: end // 10], entries[:end], guards) for end in range(10, steps + 1, 10)
    ]
    return any(verdict.action != "continue" for verdict in verdicts)
