"""The hard breaker, against known truth.

Claims: arms that fail alike trip it in at most its share of alpha of the rollouts, however much they fail, at whatever
shares, and however often it looks; a canary that fails most users is gone after few of them.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import binom

from services.deployer.domain.breaker import Breaker, Failures, breaks, could_break, has_nobody_to_wait_for, is_due
from services.deployer.domain.limits import Limits
from tests.unit.deployer.limits import make_limits

LIMITS = make_limits()
OF_BEFORE = make_limits(breaker_alpha_share=0.0)


@pytest.mark.parametrize(
    ("canary", "champion", "trips"),
    [
        (Failures(30, 12), Failures(400, 4), True),
        (Failures(4, 4), Failures(400, 0), False),  # too few users
        (Failures(60, 9), Failures(400, 0), False),  # the guardrail's business
        (Failures(40, 40), Failures(400, 400), False),  # an outage of both
        (Failures(8, 6), Failures(160, 80), False),  # an outage that met the canary a little harder
        (Failures(40, 40), Failures(400, 20), True),
        (Failures(10, 9), Failures(10, 4), False),  # p = .03
        (Failures(40, 21), Failures(2, 0), False),  # a holdback's window
        (Failures(60, 60), Failures(), False),  # the champion's users may fail as well: none has come
    ],
)
def test_the_breaker_trips_on_the_canarys_own_failures_only(canary: Failures, champion: Failures, trips: bool):
    breaker = Breaker(served=100, errors=max(canary.failed, 5), canary=canary, champion=champion, level=1e-4)
    assert breaks(breaker, LIMITS) is trips
    assert not breaks(replace(breaker, level=0.0), LIMITS)


def test_one_user_alone_does_not_trip_the_breaker():
    breaker = Breaker(served=40, errors=40, canary=Failures(1, 1), champion=Failures(50, 0), level=1e-4)
    assert not breaks(breaker, LIMITS)


@pytest.mark.parametrize(
    ("share", "served", "alone"),
    [(0.25, 200, False), (0.5, 200, False), (0.95, 49, False), (0.95, 50, True), (1.0, 5, True)],
)
def test_the_champions_users_are_waited_for_unless_so_few_are_meant_for_it_that_none_came(
    share: float, served: int, alone: bool
):
    breaker = Breaker(served=served, errors=served, canary=Failures(5, 5), level=1e-4)
    alone_now = has_nobody_to_wait_for(breaker, share, LIMITS)
    assert (alone_now, breaks(replace(breaker, is_alone=alone_now), LIMITS)) == (alone, alone)


@pytest.mark.parametrize(
    ("canary", "champion", "pays"),
    [((40, 4), (4, 0), True), ((40, 0), (4, 4), True), ((40, 40), (1, 0), False), ((4, 4), (90, 0), False)],
)
def test_a_look_that_could_not_trip_whatever_failed_is_not_paid_for(
    canary: tuple[int, int], champion: tuple[int, int], pays: bool
):
    breaker = Breaker(200, 44, Failures(*canary), Failures(*champion))
    assert could_break(breaker, LIMITS.calculate_breaker_level(0), LIMITS) is pays


def test_where_no_user_is_meant_for_the_champion_five_failures_of_five_trip_it():
    breaker = Breaker(served=5, errors=5, canary=Failures(5, 5), level=1e-4)
    assert (breaks(breaker, LIMITS), breaks(replace(breaker, is_alone=True), LIMITS)) == (False, True)


def test_looks_come_with_new_answers_and_each_may_err_less():
    assert [is_due(Breaker(served=9, fresh=fresh), LIMITS) for fresh in (4, 5)] == [False, True]
    assert [is_due(Breaker(served=200, fresh=fresh), LIMITS) for fresh in (24, 25)] == [False, True]
    assert LIMITS.calculate_breaker_level(0) > LIMITS.calculate_breaker_level(1) > LIMITS.calculate_breaker_level(900)


def test_a_rollout_of_before_keeps_the_breaker_that_it_was_opened_with():
    assert is_due(Breaker(served=9, fresh=0), OF_BEFORE)
    assert [OF_BEFORE.calculate_breaker_level(look) for look in (0, 900)] == [1e-4, 1e-4]


@dataclass
class Stage:
    """Users in the order in which they asked, each at `share` the canary's, and what the breaker sees of them."""

    rng: np.random.Generator
    share: float
    answers: int
    """Of each user, spread over the next hundred users."""
    limits: Limits = LIMITS

    def serve(self, canary_users: int, champion: float, canary: float) -> int | None:
        """Serve so many, whose answers fail at these rates; return how many of the canary's came until it tripped."""
        users = round(canary_users / self.share)
        owners = np.repeat(np.arange(users), self.answers)
        self.owners = owners[np.argsort(owners + self.rng.uniform(0, 100, owners.size))]
        self.is_canary = (self.rng.random(users) < self.share)[self.owners]
        self.failed = self.rng.random(owners.size) < np.where(self.is_canary, canary, champion)
        places, fresh, looks = np.flatnonzero(self.is_canary), 0, 0
        for served in range(1, places.size + 1):
            fresh += 1
            latest = places[max(served - self.limits.breaker_window, 0) : served]
            level = self.limits.calculate_breaker_level(looks)
            if is_due(Breaker(latest.size, fresh=fresh), self.limits) and could_break(
                breaker := self._see(latest, level), level, self.limits
            ):
                if breaks(breaker, self.limits):
                    return int(np.unique(self.owners[places[:served]]).size)
                fresh, looks = 0, looks + 1
        return None

    def _see(self, latest: np.ndarray, level: float) -> Breaker:
        window = slice(latest[0], latest[-1] + 1)
        canary, champion = (self._count(window, of_canary=each) for each in (True, False))
        seen = Breaker(latest.size, int(self.failed[latest].sum()), canary, champion, level=level)
        return replace(seen, is_alone=has_nobody_to_wait_for(seen, self.share, self.limits))

    def _count(self, window: slice, *, of_canary: bool) -> Failures:
        mine = self.is_canary[window] == of_canary
        owners, failed = self.owners[window][mine], self.failed[window][mine]
        return Failures(np.unique(owners).size, np.unique(owners[failed]).size)


@pytest.mark.parametrize("look", [0, 5, 40])
def test_a_look_with_none_of_the_champions_users_errs_at_most_at_its_level_while_few_users_meet_a_failure(look: int):
    level = LIMITS.calculate_breaker_level(look)
    for users in range(5, 81):
        tripping = [
            failed
            for failed in range(users + 1)
            if breaks(Breaker(200, 200, Failures(users, failed), level=level, is_alone=True), LIMITS)
        ]
        assert sum(binom.pmf(tripping, users, 0.15)) <= level


def chance_of_a_trip(look: int, users: tuple[int, int], rate: float) -> float:
    """Return how likely a look trips if each user of (canary, champion) meets a failure with this chance: exact."""
    level = LIMITS.calculate_breaker_level(look)
    chance = 0.0
    for failed in itertools.product(*(range(size + 1) for size in users)):
        canary, champion = (Failures(size, count) for size, count in zip(users, failed, strict=True))
        if breaks(Breaker(200, 200, canary, champion, level=level), LIMITS):
            chance += float(np.prod(binom.pmf(failed, users, rate)))
    return chance


@pytest.mark.parametrize("users", [(10, 10), (30, 30), (20, 60), (40, 5), (40, 2)])
@pytest.mark.parametrize("rate", [0.1, 0.35, 0.8])
def test_a_look_at_arms_that_fail_alike_errs_at_most_at_its_level(users: tuple[int, int], rate: float):
    for look in (0, 40):
        assert chance_of_a_trip(look, users, rate) <= LIMITS.calculate_breaker_level(look)


@pytest.mark.parametrize(("share", "answers", "rate"), [(0.5, 5, 0.08), (0.95, 5, 0.08)])
def test_arms_that_fail_alike_trip_the_breaker_at_most_at_its_share_of_alpha(share: float, answers: int, rate: float):
    """Worlds in which looks with invented champion users tripped in 36 and 64% of the rollouts."""
    tripped = [
        Stage(np.random.default_rng(seed), share, answers).serve(400, rate, rate) is not None
        for seed in range(900, 940)
    ]
    assert np.mean(tripped) <= LIMITS.alpha * LIMITS.breaker_alpha_share


@pytest.mark.parametrize(("share", "most"), [(0.05, 12), (0.5, 25)])
def test_a_canary_that_fails_most_users_is_gone_after_few_of_them(share: float, most: int):
    found = [Stage(np.random.default_rng(seed), share, 1).serve(100, 0.02, 0.8) or np.inf for seed in range(700, 740)]
    assert np.median(found) <= most
