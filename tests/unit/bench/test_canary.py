"""The canary benchmark: its arithmetic for arrays is the deployer's, and a small run of it keeps the promises."""

from dataclasses import replace

import numpy as np
import pytest

from bench.canary.__main__ import list_contestants, make_limits, play
from bench.canary.ours import LAWS, Ours
from bench.canary.simulation import ENDED, PROMOTED, ROLLED_BACK
from bench.canary.worlds import STORIES, Heard, World
from services.deployer.domain.guardrails import StageEvidence
from services.deployer.domain.outcomes import UserOutcome

LIMITS = make_limits()
OURS = next(one for one in list_contestants(LIMITS) if one.name == "ours")


def test_the_arrays_do_what_the_domain_does():
    rng, rule, evidence = np.random.default_rng(9), Ours(LIMITS, 1), StageEvidence(LIMITS)
    which = np.zeros(1, int)
    for _ in range(150):
        users = np.array([[int(rng.geometric(0.4))], [1]])
        say = rng.binomial(users, 0.7)
        ups, failed = rng.binomial(say, [[0.8], [0.6]]), rng.binomial(users, 0.1)
        rule.hear(which, Heard(users, ups, say - ups, failed, np.zeros_like(users)))
        for arm, place in (("champion", 0), ("canary", 1)):
            n, up, down, bad = users[place, 0], ups[place, 0], say[place, 0] - ups[place, 0], failed[place, 0]
            values = [1.0] * up + [0.0] * down + [None] * (n - up - down)
            for number, value in enumerate(values):
                evidence.add(UserOutcome(arm, value, failed=float(number < bad)))  # type: ignore[arg-type]
    for name in ("outcome", "errors"):
        assert rule.wealth[LAWS.index(name), :, 0] == pytest.approx(evidence.detectors[name].wealth, rel=1e-6)
    assert rule.wealth[LAWS.index("advance"), :, 0] == pytest.approx(evidence.advance.wealth, rel=1e-6)


def simulate(name: str, runs: int = 60, **changes: object):
    world: World = replace(STORIES[name], **changes)  # type: ignore[arg-type]
    return play(OURS, world, 2_024, runs)


@pytest.mark.parametrize("name", ["equal, daily seasons", "equal, outage of both"])
def test_a_harmless_candidate_is_seldom_rolled_back(name: str):
    assert simulate(name).share(ROLLED_BACK) <= LIMITS.alpha


def test_a_broken_candidate_is_gone_after_a_few_users():
    result = simulate("broken, -.50, small")
    assert result.share(ROLLED_BACK) == 1
    assert np.median(result.since_onset) <= 25


@pytest.mark.parametrize("name", ["errors only, 10% against 0%", "latency only, .10 slow against .30"])
def test_harm_that_no_vote_tells_of_is_found(name: str):
    assert simulate(name).share(ROLLED_BACK) >= 0.95


def test_what_was_good_at_first_and_then_is_not_does_not_stay():
    result = simulate("+.10 to 50%, then -.20")
    assert result.share(ROLLED_BACK) + result.share(ENDED) >= 0.95


def test_a_good_candidate_is_promoted_and_what_cannot_be_decided_is_ended():
    assert simulate("good, +.10").share(PROMOTED) >= 0.9
    assert simulate("slightly worse, -.04, small").share(ENDED) >= 0.5
