"""The promises of the gates on answers: coverage, and how seldom a candidate at the margin passes, with regions too."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from services.evaluator.domain.intervals import calculate_paired_interval, calculate_ratio_interval
from services.evaluator.domain.regions import derive_units
from services.evaluator.domain.rules import MarginRule, RatioRule
from services.evaluator.domain.sanity import assess_length, assess_trait, count_needed

MARGIN = 0.13
RULE = MarginRule(margin=MARGIN)
SMALL = 1e-7


def list_likely(n: int, worse: float, better: float) -> list[tuple[int, int, float]]:
    """List (only the candidate, only the champion, chance) of all outcomes that are not next to impossible."""
    found = []
    for first in range(n + 1):
        chance = float(stats.binom.pmf(first, n, worse))
        if chance > SMALL:
            seconds = stats.binom.pmf(np.arange(n - first + 1), n - first, better / (1 - worse))
            found += [
                (first, int(second), chance * float(seconds[second])) for second in np.flatnonzero(seconds > SMALL)
            ]
    return found


@pytest.mark.parametrize("n", [20, 30, 60, 100])
def test_at_the_margin_a_candidate_passes_in_at_most_a_fortieth_and_95_of_100_are_covered(n: int) -> None:
    """By enumeration of all outcomes: 2.5% pass, kept within .3 points; 4% fail, which is no promise; 95% are covered,
    kept within 2 points."""
    bounds: dict[tuple[int, int], tuple[float, float]] = {}
    for margin, better in product((0.1, 0.13), (0.0, 0.02, 0.1)):
        missed = np.zeros(2)
        for first, second, chance in list_likely(n, margin + better, better):
            if (first, second) not in bounds:
                bounds[first, second] = calculate_paired_interval(first, second, n)
            low, high = bounds[first, second]
            missed += chance * np.array([high <= margin, low >= margin])
        assert missed[0] <= 0.028
        assert missed[1] <= 0.042
        assert missed.sum() <= 0.07


def test_a_thousand_prompts_are_as_sure() -> None:
    random = np.random.default_rng(1)
    drawn = random.multinomial(1_000, [0.13, 0.03, 0.84], 4_000)
    bounds = {key: calculate_paired_interval(*key, 1_000) for key in {(int(a), int(b)) for a, b, _ in drawn}}
    missed = [[bounds[int(a), int(b)][1] <= 0.1, bounds[int(a), int(b)][0] > 0.1] for a, b, _ in drawn]
    assert np.mean(missed, axis=0).max() <= 0.025 + 0.0075


def harm(random: Any, regions: int, size: int, share: float) -> tuple[list[bool], list[int]]:
    """The candidate errs in most answers of so many of its regions, and in none of the others."""
    struck = random.random(regions) < share
    answers = [bool(hit and random.random() < MARGIN / share) for hit in struck for _ in range(size)]
    return answers, [region for region in range(regions) for _ in range(size)]


@pytest.mark.parametrize(("regions", "size"), [(30, 2), (60, 5), (50, 20)])
@pytest.mark.parametrize("share", [0.15, 0.5])
def test_harm_that_comes_by_region_passes_as_seldom(regions: int, size: int, share: float) -> None:
    """2.5% is promised on each side; at 800 rounds two and a half standard errors are 1.4 points. Answers taken one
    by one passed 36% where 1,000 prompts come in twenties."""
    random, rounds = np.random.default_rng([regions, size, int(100 * share)]), 800
    told = []
    for _ in range(rounds):
        answers, names = harm(random, regions, size, share)
        told.append(assess_trait("refusals", "refusals", answers, [False] * len(answers), RULE, names))
    passed, failed = (np.mean([gate.verdict == verdict for gate in told]) for verdict in ("pass", "fail"))
    covered = np.mean([(gate.low or -1.0) <= MARGIN <= (gate.high or 1.0) for gate in told])
    assert passed <= 0.025 + 0.014
    assert failed <= 0.025 + 0.014
    assert covered >= 0.95 - 0.02


def test_few_regions_speak_for_themselves_and_say_so() -> None:
    needed = count_needed(MARGIN)
    assert calculate_paired_interval(0, 0, needed)[1] <= MARGIN < calculate_paired_interval(0, 0, needed - 1)[1]
    random, rounds, missed = np.random.default_rng(4), 500, 0
    for _ in range(rounds):
        struck = random.random(12) < 0.15
        answers = [bool(hit and random.random() < 0.8) for hit in struck for _ in range(5)]
        gate = assess_trait("refusals", "refusals", answers, [False] * 60, RULE, [n // 5 for n in range(60)])
        missed += not (gate.low or 0.0) <= 0.8 * struck.mean() <= (gate.high or 0.0)
        assert "for these 12 regions of prompts only" in gate.summary
        assert gate.n == 60
    assert missed / rounds <= 0.05 + 0.02


def test_a_region_is_one_piece_of_evidence_and_prompts_of_their_own_are_one_each() -> None:
    assert len(derive_units(60, [])) == len(derive_units(60, list(range(60)))) == 60
    units = derive_units(60, [n // 2 for n in range(60)], 30)
    assert (len(units), units.average([1.0, 0.0] * 30), units.add([1.0] * 60)) == (30, [0.5] * 30, [2.0] * 30)
    assert len(derive_units(60, [n // 2 for n in range(60)], 31)) == 60


@pytest.mark.parametrize("spread", [0.5, 1.0])
@pytest.mark.parametrize("n", [20, 60, 100, 1_000])
def test_lengths_twice_the_champions_pass_seldom_however_unequal_answers_are(n: int, spread: float) -> None:
    """Lognormal lengths: 2.5% is promised on each side; with a spread of 1 it is 3.7 above, and 95% are covered."""
    random, rounds = np.random.default_rng([n, int(10 * spread)]), 2_000 if n < 1_000 else 500
    lengths = np.exp(spread * random.normal(size=(2, rounds, n)))
    bounds = [calculate_ratio_interval(list(2 * ours), list(theirs)) for ours, theirs in zip(*lengths, strict=True)]
    passed, failed = np.mean([[high <= 2, low > 2] for low, high in bounds], axis=0)
    slack = 2.5 * np.sqrt(0.03 / rounds)
    assert passed <= (0.03 if spread < 1 else 0.037) + slack
    assert failed <= 0.025 + slack
    assert passed + failed <= 0.05 + slack


def test_long_and_short_regions_are_one_piece_of_evidence_each() -> None:
    """The candidate writes four times as much in half of its 30 regions, and as much in the others: 2.5 times over all,
    seen from these regions; by single answers the interval was half as wide."""
    candidate = ["word " * (40 if n // 10 % 2 else 10) for n in range(300)]
    champion = ["word " * 10] * 300
    alone = assess_length(candidate, champion, RatioRule(ceiling=3.0))
    regional = assess_length(candidate, champion, RatioRule(ceiling=3.0), [n // 10 for n in range(300)])
    assert (alone.effect, regional.effect, alone.n, regional.n) == (2.5, 2.5, 300, 30)
    assert (alone.verdict, regional.verdict) == ("pass", "inconclusive")
