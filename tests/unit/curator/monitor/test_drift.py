"""What the opinion e-detector promises, by simulation: these fail if a formula, or one vote per user, is lost."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest

from services.curator.monitor.domain.drift import (
    ChampionVote,
    OpinionRules,
    advance,
    assess_opinion,
    calculate_lower_bound,
    keep_first_votes,
)

Draw = Callable[[int], npt.NDArray[np.bool_]]
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
SESSION = 5


def measure_run_lengths(draw: Draw, floor: float, run_length: int, limit: int) -> npt.NDArray[np.int_]:
    """Votes until each stream's alarm, `limit` where there was none by then."""
    streams = len(draw(0))
    values, alarms = np.zeros((streams, 4)), np.full(streams, limit)
    for n in range(limit):
        values = advance(values, draw(n), floor)
        alarms[(alarms == limit) & (values.mean(axis=-1) >= run_length)] = n + 1
    return alarms


def draw_independent(rng: np.random.Generator, rate: float, streams: int) -> Draw:
    return lambda _: rng.random(streams) < rate


def draw_sessions(rng: np.random.Generator, rate: float, streams: int, votes_per_user: int) -> Draw:
    """Users come one after the other, each with a rate of their own: within-user correlation .2 (beta-binomial)."""
    size = 1 / 0.2 - 1
    users = np.zeros(streams)

    def draw(n: int) -> npt.NDArray[np.bool_]:
        if n % votes_per_user == 0:
            users[:] = rng.beta(rate * size, (1 - rate) * size, streams)
        return rng.random(streams) < users

    return draw


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9])
def test_false_alarms_are_at_least_the_run_length_apart(rate: float):
    draw = draw_independent(np.random.default_rng(1), rate, 400)
    lengths = measure_run_lengths(draw, floor=rate, run_length=500, limit=4_000)
    assert lengths.mean() > 480  # cut off at the limit, which only lowers it


def test_a_rate_above_the_floor_alarms_more_seldom_still():
    draw = draw_independent(np.random.default_rng(2), 0.83, 400)
    assert measure_run_lengths(draw, floor=0.8, run_length=500, limit=4_000).mean() > 1_500


def test_one_vote_per_user_keeps_the_run_length_that_counting_all_votes_of_a_session_breaks():
    rng = np.random.default_rng(3)
    every_vote = measure_run_lengths(draw_sessions(rng, 0.8, 400, SESSION), 0.8, 500, 4_000)
    one_per_user = measure_run_lengths(draw_sessions(rng, 0.8, 400, 1), 0.8, 500, 4_000)
    assert every_vote.mean() < 350
    assert one_per_user.mean() > 480


def test_a_fall_from_80_to_72_percent_is_found_after_about_200_votes():
    draw = draw_independent(np.random.default_rng(4), 0.72, 500)
    lengths = measure_run_lengths(draw, floor=0.8, run_length=2_000, limit=2_000)
    assert 130 < np.median(lengths) < 220
    assert 150 < lengths.mean() < 250


def test_with_a_floor_estimated_from_the_warm_up_the_run_length_is_kept_too():
    rng = np.random.default_rng(5)
    floors = np.array([calculate_lower_bound(int(positives), 300) for positives in rng.binomial(300, 0.8, 12)])
    lengths = [measure_run_lengths(draw_independent(rng, 0.8, 40), floor, 500, 2_500).mean() for floor in floors]
    assert np.mean(lengths) > 1_000


def test_the_lower_bound_covers_the_rate_at_its_level():
    positives = np.random.default_rng(6).binomial(300, 0.8, 2_000)
    assert np.mean([calculate_lower_bound(int(count), 300) <= 0.8 for count in positives]) >= 0.94


def test_lower_bounds_match_published_values():
    assert calculate_lower_bound(10, 10) == pytest.approx(0.05 ** (1 / 10))
    assert calculate_lower_bound(0, 10) == 0.0


# --- which votes count


def make_votes(ups: list[bool], *, users: int = 100_000, start: datetime = START) -> list[ChampionVote]:
    return [
        ChampionVote(UUID(int=n), f"user-{n % users}", start + timedelta(minutes=n), up) for n, up in enumerate(ups)
    ]


def draw_votes(rate: float, n: int, seed: int) -> list[bool]:
    return [bool(up) for up in np.random.default_rng(seed).random(n) < rate]


def test_a_user_counts_once_in_each_period_with_the_first_vote():
    ana = [
        ChampionVote(UUID(int=n), "ana", START + n * timedelta(hours=10), up)
        for n, up in enumerate([True, False, False])
    ]
    assert [vote.event_id.int for vote in keep_first_votes(ana[::-1], DAY)] == [0, 2]


def test_anonymous_votes_do_not_count():
    assert keep_first_votes([ChampionVote(UUID(int=1), None, START, False)], DAY) == []


def test_votes_of_one_moment_stand_in_the_order_of_their_ids():
    votes = [ChampionVote(UUID(int=n), user, START, True) for n, user in ((2, "ana"), (1, "bo"), (3, "ana"))]
    assert [vote.event_id.int for vote in keep_first_votes(votes, DAY)] == [1, 2]


# --- the champion's story

RULES = OpinionRules(run_length=2_000, warm_up=300, period=DAY, margin=0.0)


def test_a_new_champion_is_measured_first():
    opinion = assess_opinion(make_votes(draw_votes(0.8, 120, 7)), RULES)
    assert (opinion.state, opinion.votes, opinion.floor) == ("warming_up", 120, None)
    assert opinion.summary == "measuring the new champion: 120 of 300 votes"


def test_a_steady_champion_raises_no_alarm():
    opinion = assess_opinion(make_votes(draw_votes(0.8, 1_500, 8)), RULES)
    assert opinion.state == "watching"
    assert opinion.floor is not None
    assert opinion.baseline_rate is not None
    assert opinion.floor < opinion.baseline_rate


def test_a_fallen_champion_raises_the_alarm_and_says_by_how_much():
    opinion = assess_opinion(make_votes(draw_votes(0.8, 300, 9) + draw_votes(0.6, 400, 10)), RULES)
    assert opinion.state == "alarm"
    assert opinion.value >= 2_000
    assert opinion.recent_rate == pytest.approx(0.6, abs=0.08)
    assert "of the last 200 votes are positive" in opinion.summary


def test_an_alarm_stays_until_a_request_answers_it():
    ups = draw_votes(0.8, 300, 9) + draw_votes(0.5, 200, 10) + draw_votes(0.9, 600, 11)
    votes = make_votes(ups)
    assert assess_opinion(votes, RULES).state == "alarm"
    assert assess_opinion(votes, RULES, restarted_at=votes[520].at).state == "watching"


def test_few_users_with_many_bad_votes_raise_no_alarm():
    crowd = make_votes(draw_votes(0.8, 330, 12))
    angry = [
        ChampionVote(UUID(int=10_000 + n), "ana", START + timedelta(hours=7, seconds=n), False) for n in range(500)
    ]
    assert assess_opinion(crowd + angry, RULES).state == "watching"


def test_a_champion_whom_nobody_likes_cannot_fall():
    assert assess_opinion(make_votes([False] * 400), RULES).state == "unmeasurable"
