"""What prompt drift promises, by simulation on made vectors: seeds other than those that constants were tuned on."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pytest

from services.curator.cells.domain.vectors import normalize
from services.curator.monitor.domain import prompt_drift
from services.curator.monitor.domain.evidence import accumulate, calibrate
from services.curator.monitor.domain.prompt_drift import (
    PromptRules,
    Shift,
    Vectors,
    calculate_kernel,
    compare_prompts,
    draw_picture,
    permute,
)

RULES = PromptRules(timedelta(days=1), cycle=7, most=500, least_effect=0.0)
DIMENSIONS = 24
TOPICS = 10
CENTRES = np.random.default_rng(0).normal(size=(TOPICS, DIMENSIONS))
SPREAD = 0.4

Floats = npt.NDArray[np.float64]


def share(*, new: float = 0.0) -> Floats:
    """Shares of topics, all but the last alike; `new` is the last one's."""
    return np.array([(1 - new) / (TOPICS - 1)] * (TOPICS - 1) + [new])


def ask(rng: np.random.Generator, shares: Floats, users: int) -> Vectors:
    return say(rng, rng.choice(TOPICS, users, p=shares))


def say(rng: np.random.Generator, topics: npt.NDArray[np.intp]) -> Vectors:
    points = CENTRES[topics] + SPREAD * np.sqrt(DIMENSIONS) * rng.normal(size=(len(topics), DIMENSIONS))
    return normalize(points.astype(np.float32))


def test_the_matrix_products_give_the_mmd_of_the_definition():
    rng = np.random.default_rng(201)
    points = ask(rng, share(), 30)
    kernel = calculate_kernel(points)
    found, permuted = permute(kernel, 12, 5, np.random.default_rng(1))
    first, second = kernel[:12, :12], kernel[12:, 12:]
    expected = first.sum() / (12 * 11) + second.sum() / (18 * 17) - 2 * kernel[:12, 12:].mean()
    assert found == pytest.approx(expected, abs=1e-6)
    assert len(set(permuted)) == 5


def test_p_values_are_right_at_their_level_without_drift():
    rng = np.random.default_rng(202)
    shifts = [compare_prompts(ask(rng, share(), 60), ask(rng, share(), 60), RULES, rng) for _ in range(300)]
    p_values = np.array([shift.p_value for shift in shifts])
    assert (p_values <= 0.05).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean([shift.e_value for shift in shifts]) <= 1.1


@pytest.mark.parametrize(("new", "power"), [(0.1, 0.4), (0.2, 0.95)])
def test_a_new_topic_is_seen_in_a_window_with_this_power(new: float, power: float):
    rng = np.random.default_rng(203)
    shifts = [compare_prompts(ask(rng, share(), 300), ask(rng, share(new=new), 200), RULES, rng) for _ in range(20)]
    assert np.mean([shift.p_value <= 0.05 for shift in shifts if shift.p_value is not None]) >= power


Crowd = Callable[[np.random.Generator, int], Vectors]


def newcomers(rng: np.random.Generator, day: int) -> Vectors:
    return ask(rng, share(), 60)


def weekly(rng: np.random.Generator, day: int) -> Vectors:
    """At weekends a third ask of something else."""
    return ask(rng, share(new=0.33 if day % 7 >= 5 else 0.0), 60)


def make_regulars(rng: np.random.Generator) -> Crowd:
    """The same 60 users every day, each with one topic for ever."""
    topics = rng.choice(TOPICS, 60, p=share())
    return lambda rng, day: say(rng, topics)


@pytest.mark.parametrize("name", ["newcomers", "weekly", "regulars"])
def test_without_drift_the_evidence_keeps_its_run_length(monkeypatch: pytest.MonkeyPatch, name: str):
    """A mean run length of 60 days or more: alarms that come as evenly as they may come in 63% of runs by then."""
    monkeypatch.setattr(prompt_drift, "PERMUTATIONS", 99)
    rng = np.random.default_rng(204)
    alarms = []
    for _ in range(25):
        crowd = make_regulars(rng) if name == "regulars" else {"newcomers": newcomers, "weekly": weekly}[name]
        alarms.append(run(rng, crowd, days=60, threshold=60.0) is not None)
    assert np.mean(alarms) <= 0.4


def run(rng: np.random.Generator, crowd: Crowd, days: int, threshold: float) -> int | None:
    """Return the day of the alarm, after a reference week."""
    reference = [crowd(rng, day) for day in range(RULES.cycle)]
    evidence = np.zeros(1)
    for day in range(RULES.cycle, RULES.cycle + days):
        shift = compare_prompts(reference[day % RULES.cycle], crowd(rng, day), RULES, rng)
        evidence = accumulate(evidence, np.array([shift.e_value]), RULES.days, threshold)
        if evidence[0] >= threshold:
            return day - RULES.cycle + 1
    return None


def test_a_new_topic_is_found_within_days():
    rng = np.random.default_rng(205)

    def change(rng: np.random.Generator, day: int) -> Vectors:
        return ask(rng, share(new=0.2 if day >= RULES.cycle else 0.0), 200)

    found = [run(rng, change, days=10, threshold=360.0) for _ in range(8)]
    assert all(found)
    assert np.median([day for day in found if day]) <= 4


def test_what_is_smaller_than_the_floor_adds_nothing_however_sure():
    rng = np.random.default_rng(206)
    rules = PromptRules(timedelta(days=1), cycle=7, most=500, least_effect=0.5)
    shift = compare_prompts(ask(rng, share(), 200), ask(rng, share(new=0.3), 200), rules, rng)
    assert shift.p_value is not None
    assert shift.p_value < 0.01
    assert shift.e_value <= 1.0


def test_few_prompts_are_unmeasurable_and_leave_the_evidence_as_it_is():
    rng = np.random.default_rng(207)
    few = ask(rng, share(), 49)
    assert compare_prompts(few, ask(rng, share(), 200), RULES, rng) == Shift("unmeasurable", None, None, 1.0)


def test_e_values_of_uniform_p_values_are_at_most_one_on_average():
    grid = np.arange(1, 501) / 500
    assert np.mean([calibrate(float(p)) for p in grid]) <= 1.0


def test_the_picture_holds_a_bounded_number_of_points():
    rng = np.random.default_rng(208)
    picture = draw_picture(ask(rng, share(), 400), ask(rng, share(new=0.2), 100))
    assert [len(picture[side]) for side in ("reference", "window")] == [150, 100]
    assert all(len(point) == 2 for point in picture["window"])
