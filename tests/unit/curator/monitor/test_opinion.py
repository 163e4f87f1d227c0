"""What the opinion detector promises, by simulation: these fail if the dispersion, the settling or a formula is lost.

The budget is 180 days, of which half: at least 360 days to an alarm on average, whatever the null stream. Constants
were tuned on other seeds.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from services.curator.monitor.domain.evidence import Budget, accumulate
from services.curator.monitor.domain.opinion import (
    OpinionRules,
    Repeats,
    VoteWindow,
    assess_opinion,
    find_learning,
    is_falling,
    learn,
    weigh,
)

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = OpinionRules(DAY, settling=7, warm_up=300, warm_up_periods=7, least_users=100, margin=0.0)
THRESHOLD = Budget(180).threshold("opinion")
DAYS = 1_000
STREAMS = 80
CENSORED = 800
"""Days watched of each stream."""
RATE = 0.8

Ints = npt.NDArray[np.int_]


class Stream(NamedTuple):
    """Counted votes and positive ones by day, and of each user by the day they vote on; None: nobody votes twice."""

    votes: Ints
    ups: Ints
    voted: npt.NDArray[np.bool_] | None = None
    praised: npt.NDArray[np.bool_] | None = None


Make = Callable[[np.random.Generator], Stream]


def make_daily(votes: int, rates: Callable[[np.random.Generator], npt.NDArray[np.float64]]) -> Make:
    def make(rng: np.random.Generator) -> Stream:
        return Stream(np.full(DAYS, votes), rng.binomial(votes, np.clip(rates(rng), 0, 1)))

    return make


def stay(_: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.full(DAYS, RATE)


def swing_weekly(_: np.random.Generator) -> npt.NDArray[np.float64]:
    """Better on weekdays by 2 points, worse at weekends by 5."""
    return RATE + np.array([0.02, 0.02, 0.02, 0.02, 0.02, -0.05, -0.05])[np.arange(DAYS) % 7]


def wear_off(_: np.random.Generator) -> npt.NDArray[np.float64]:
    """A new model is liked 6 points better, and less so every day."""
    return RATE + 0.06 * np.exp(-np.arange(DAYS) / 10)


def shock_days(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return RATE + rng.normal(0, 0.05, DAYS)


def shock_tens(rng: np.random.Generator) -> Stream:
    """Ten votes at a time share what happened: correlation .5."""
    rates = rng.beta(RATE, 1 - RATE, (DAYS, 10))
    return Stream(np.full(DAYS, 100), rng.binomial(10, rates).sum(axis=1))


def vote_daily(users: int, days_between: float) -> Make:
    """A crowd of regulars, each with a taste of their own (correlation .2) who leave after 60 days on average."""

    def make(rng: np.random.Generator) -> Stream:
        tastes = np.empty((DAYS, users))
        tastes[0] = rng.beta(RATE * 4, (1 - RATE) * 4, users)
        for before, day in pairwise(range(DAYS)):
            leaves = rng.random(users) < 1 / 60
            tastes[day] = tastes[before]
            tastes[day, leaves] = rng.beta(RATE * 4, (1 - RATE) * 4, leaves.sum())
        voted = rng.random((DAYS, users)) < 1 / days_between
        praised = voted & (rng.random((DAYS, users)) < tastes)
        return Stream(voted.sum(axis=1), praised.sum(axis=1), voted, praised)

    return make


NULLS: dict[str, Make] = {
    "20 independent votes a day": make_daily(20, stay),
    "1,000 independent votes a day": make_daily(1_000, stay),
    "weekly seasons, 100 a day": make_daily(100, swing_weekly),
    "weekly seasons, 1,000 a day": make_daily(1_000, swing_weekly),
    "novelty, 100 a day": make_daily(100, wear_off),
    "novelty, 1,000 a day": make_daily(1_000, wear_off),
    "shared shocks of days, 1,000 a day": make_daily(1_000, shock_days),
    "shared shocks of ten votes": shock_tens,
    "150 regulars": vote_daily(150, 1),
    "400 who vote every third day": vote_daily(400, 3),
}


def measure_run_lengths(make: Make, rng: np.random.Generator, streams: int = STREAMS) -> Ints:
    """Days of watching until each stream's alarm, at most `CENSORED`; streams that cannot be measured are left out."""
    learnt = [one for one in (begin(make(rng)) for _ in range(streams)) if one is not None]
    if not learnt:
        return np.array([], dtype=int)
    votes, ups, floors, spreads = (np.array(part) for part in zip(*learnt, strict=True))
    evidence, lengths = np.zeros((len(learnt), 4)), np.full(len(learnt), CENSORED)
    for day in range(CENSORED):
        e_values = weigh(votes[:, day], ups[:, day], floors, spreads[:, day])
        evidence = accumulate(evidence, e_values, RULES.days, THRESHOLD)
        lengths[(lengths == CENSORED) & (evidence.mean(axis=1) >= THRESHOLD)] = day + 1
    return lengths


def begin(stream: Stream) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float, list[float]] | None:
    windows = make_windows(stream.votes, stream.ups)[:120]
    if (learning := find_learning(windows, RULES)) is None:
        return None
    baseline = learn(windows[learning.start : learning.stop], count_repeats(stream, learning), RULES.margin)
    if baseline is None or baseline.users < RULES.least_users:
        return None
    votes, ups = (part[learning.stop : learning.stop + CENSORED].astype(float) for part in stream[:2])
    return votes, ups, baseline.floor, [baseline.dispersion(n) for n in votes]


def make_windows(votes: Ints, ups: Ints) -> list[VoteWindow]:
    return [VoteWindow(START + n * DAY, int(v), int(u)) for n, (v, u) in enumerate(zip(votes, ups, strict=True))]


def count_repeats(stream: Stream, days: range) -> list[Repeats]:
    if stream.voted is None or stream.praised is None:
        n, k = (int(part[days.start : days.stop].sum()) for part in (stream.votes, stream.ups))
        return [Repeats(1, 1, k), Repeats(1, 0, n - k)]
    counts = [part[days.start : days.stop].sum(axis=0) for part in (stream.voted, stream.praised)]
    found, users = np.unique(np.array(counts).T, axis=0, return_counts=True)
    return [Repeats(int(n), int(k), int(u)) for (n, k), u in zip(found, users, strict=True) if n]


@pytest.mark.parametrize("name", NULLS)
def test_without_a_fall_an_alarm_is_as_far_away_as_the_budget_says(name: str):
    """Runs are cut off at 800 days, which only lowers their mean."""
    lengths = measure_run_lengths(NULLS[name], np.random.default_rng(101), 25 if "who" in name else STREAMS)
    assert len(lengths) >= 20
    assert lengths.mean() - 2 * lengths.std() / np.sqrt(len(lengths)) >= THRESHOLD


def test_thirty_regulars_are_too_few_to_speak_for_all():
    assert len(measure_run_lengths(vote_daily(30, 1), np.random.default_rng(102), 10)) == 0


@pytest.mark.parametrize(
    ("votes", "fallen", "within"), [(1_000, 0.76, 8), (1_000, 0.72, 2), (100, 0.72, 25), (100, 0.64, 6), (20, 0.64, 40)]
)
def test_a_fall_is_found_within_days(votes: int, fallen: float, within: int):
    """Median days from the fall; the 20 days before it were watched quietly."""
    rates = np.full(DAYS, RATE)
    rates[150:] = fallen
    rng = np.random.default_rng(103)
    delays = []
    for _ in range(40):
        calm, ups = rng.binomial(votes, RATE, 130), rng.binomial(votes, rates[130:])
        stream = Stream(np.full(DAYS, votes), np.concatenate([calm, ups]))
        windows = make_windows(stream.votes, stream.ups)
        learning = find_learning(windows, RULES)
        assert learning is not None
        repeats = count_repeats(stream, learning)
        seen = [*windows[: learning.stop], *windows[130:]]
        delays.append(find_alarm(seen, repeats, learning.stop + 20, within * 3))
    assert np.median(delays) <= within


def find_alarm(windows: list[VoteWindow], repeats: list[Repeats], fall: int, most: int) -> int:
    """Days from the fall to the alarm, or `most`."""
    states = (assess_opinion(windows[: fall + n], repeats, RULES, THRESHOLD).state for n in range(1, most))
    return next((n for n, state in enumerate(states, start=1) if state == "alarm"), most)


# --- a champion's story

QUIET = [Repeats(1, 1, 560), Repeats(1, 0, 140)]


def story(*rates: tuple[float, int], votes: int = 100) -> list[VoteWindow]:
    """Days of exactly these rates: (rate, how many days)."""
    daily = [rate for rate, days in rates for _ in range(days)]
    return make_windows(np.full(len(daily), votes), np.array([round(rate * votes) for rate in daily]))


def test_a_new_champion_settles_then_its_rate_is_learnt_then_it_is_watched():
    states = [assess_opinion(story((0.8, days)), QUIET, RULES, THRESHOLD).state for days in (0, 6, 7, 13, 14, 15)]
    assert states == ["settling", "settling", "learning", "learning", "watching", "watching"]


def test_an_alarm_says_by_how_much_and_lapses_when_its_cause_is_gone():
    fallen = story((0.8, 14), (0.6, 6))
    opinion = assess_opinion(fallen, QUIET, RULES, THRESHOLD)
    assert opinion.state == "alarm"
    assert opinion.recent_rate == pytest.approx(0.6)
    assert "60% of the last 600 votes are positive" in opinion.summary
    assert assess_opinion(story((0.8, 14), (0.6, 6), (0.8, 10)), QUIET, RULES, THRESHOLD).state == "watching"


def test_a_request_that_answered_an_alarm_begins_the_evidence_anew():
    windows = story((0.8, 14), (0.6, 6))
    opinion = assess_opinion(windows, QUIET, RULES, THRESHOLD, restarted_at=windows[-1].began_at)
    assert (opinion.state, opinion.value) == ("watching", 0.0)


def test_what_has_fallen_ever_since_the_promotion_is_unmeasurable_not_an_alarm():
    rates = tuple((0.9 - 0.005 * day, 1) for day in range(40))
    opinion = assess_opinion(story(*rates, votes=1_000), QUIET, RULES, THRESHOLD)
    assert opinion.state == "unmeasurable"
    assert "novelty" in opinion.summary


def test_the_same_weekdays_are_compared_to_tell_whether_novelty_wears_off():
    week = [0.82, 0.82, 0.82, 0.82, 0.82, 0.75, 0.75]
    first, second = (story(*((rate - less, 1) for rate in week), votes=1_000) for less in (0.0, 0.02))
    assert not is_falling(first, first)
    assert is_falling(first, second)


def test_votes_that_all_agree_and_few_users_with_many_votes_cannot_be_measured():
    assert assess_opinion(story((0.0, 20)), QUIET, RULES, THRESHOLD).state == "unmeasurable"
    few = [Repeats(7, 6, 20), Repeats(7, 4, 10)]
    opinion = assess_opinion(story((0.8, 20)), few, RULES, THRESHOLD)
    assert opinion.state == "unmeasurable"
    assert opinion.summary == "30 users of equal weight cast the votes: too few to speak for all"


def test_ten_users_with_thirty_votes_each_in_a_day_are_ten_votes():
    """One vote a user and period is counted (in SQL); ten bad ones among a hundred are no fall."""
    assert assess_opinion(story((0.8, 14), (0.72, 1), (0.8, 2)), QUIET, RULES, THRESHOLD).state == "watching"
