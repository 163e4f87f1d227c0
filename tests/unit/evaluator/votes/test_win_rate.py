"""Win rate: whose votes count, when voting ends, and what the gate says."""

from collections.abc import Sequence

import pytest

from services.evaluator.domain.votes.ballots import EQUAL_ANSWERS, Ballot, Vote, derive_units
from services.evaluator.domain.votes.win_rate import (
    LEAST_TO_PASS,
    VotingPlan,
    assess_win_rate,
    calculate_left_share,
    decide_voting,
    derive_prompt_scores,
)

PLAN = VotingPlan(raters=10)


def pile(number: int, votes: Sequence[Vote | None], *, rater: str | None = None, start: float = 0) -> list[Ballot]:
    """One pile of prompts, two looks at each; the candidate is left at the first look, right at the second."""
    half = len(votes) // 2
    return [
        Ballot(
            f"prompt-{number}-{place % half}",
            place < half,
            vote,
            rater=None if vote is None else rater or f"rater-{number}",
            pile=number,
            cast=start + number * 100 + place,
        )
        for place, vote in enumerate(votes)
    ]


WON: list[Vote | None] = ["left", "left", "right", "right"]
LOST: list[Vote | None] = ["right", "right", "left", "left"]
OPEN: list[Vote | None] = [None, None, None, None]


def piles(won: int, lost: int = 0, still_open: int = 0) -> list[Ballot]:
    kinds = [WON] * won + [LOST] * lost + [OPEN] * still_open
    return [ballot for number, votes in enumerate(kinds) for ballot in pile(number, votes)]


def test_a_prompt_scores_the_mean_of_its_votes_with_ties_half() -> None:
    cast = pile(0, ["left", "left", "tie", "right", "left", "right"])
    assert derive_prompt_scores(cast) == {"prompt-0-0": 1.0, "prompt-0-1": 0.5, "prompt-0-2": 0.75}


def test_who_always_votes_left_says_nothing_about_the_candidate() -> None:
    cast = [ballot for number in range(10) for ballot in pile(number, ["left"] * 4)]
    gate = assess_win_rate(cast, PLAN)
    assert (gate.effect, gate.verdict) == (0.5, "inconclusive")
    assert calculate_left_share(cast) == 1.0


def test_seven_raters_of_one_mind_decide_and_five_never_could() -> None:
    assert LEAST_TO_PASS == 6
    gates = {count: assess_win_rate(piles(count, still_open=10 - count), PLAN) for count in (2, 5, 7)}
    assert [gate.verdict for gate in gates.values()] == ["inconclusive", "inconclusive", "pass"]
    assert gates[2].summary == "8 of 40 votes were cast, by 2 raters; at least 3 are needed"
    assert gates[5].more_needed == 2
    assert "fewer than 6 raters cannot decide" in gates[5].summary
    assert (gates[7].effect, gates[7].n) == (1.0, 7)
    assert assess_win_rate(piles(0, lost=7), PLAN).verdict == "fail"


def test_the_interval_holds_the_estimate_and_the_verdict_is_where_it_lies() -> None:
    for won in range(11):
        gate = assess_win_rate(piles(won, lost=10 - won), PLAN)
        assert gate.low is not None
        assert gate.high is not None
        assert gate.low <= won / 10 <= gate.high
        assert (gate.verdict == "pass") == (gate.low > 0.5)
        assert (gate.verdict == "fail") == (gate.high < 0.5)


@pytest.mark.parametrize(
    ("ballots", "outcome"),
    [
        (piles(5, still_open=5), "go on"),
        (piles(7, still_open=3), "decided"),
        (piles(1, lost=2, still_open=7), "futile"),
        (piles(0, lost=3, still_open=7), "futile"),
        (piles(5, lost=5), "exhausted"),
        (piles(0, still_open=10), "go on"),
    ],
)
def test_voting_ends_once_nothing_more_can_change_the_verdict(ballots: list[Ballot], outcome: str) -> None:
    assert decide_voting(ballots, PLAN) == outcome


def test_a_rater_who_is_not_done_does_not_end_the_voting() -> None:
    half_done = pile(5, ["left", "left", None, None])
    begun = piles(6)[:-4] + pile(5, ["left", "left", "right", None]) + pile(6, WON)
    assert decide_voting(piles(5) + half_done + pile(6, OPEN), PLAN) == "go on"
    assert decide_voting(begun, PLAN) == "go on"
    assert assess_win_rate(begun, PLAN).verdict == "pass"


def test_a_pile_counts_for_who_began_it_and_a_rater_for_one_pile() -> None:
    stranger = pile(0, [None, None, "right", "left"], rater="stranger", start=500)
    begun = pile(0, ["left", "left", None, None])
    second_pile = pile(1, WON, rater="rater-0", start=900)
    [unit] = derive_units([*begun[:2], *stranger[2:], *second_pile]).values()
    assert (unit.score, unit.votes, unit.is_complete) == (1.0, 2, False)


def test_equal_answers_are_ties_that_shrink_the_effect_and_not_the_evidence() -> None:
    settled = [Ballot(f"same-{number}", side, "tie") for number in range(20) for side in (True, False)]
    gate, without = assess_win_rate(piles(10) + settled, PLAN), assess_win_rate(piles(10), PLAN)
    assert (gate.effect, gate.verdict) == (0.75, "pass")
    assert without.low is not None
    assert gate.low == pytest.approx(0.25 + without.low / 2)
    assert assess_win_rate(settled, PLAN).summary == "all answers are equal"
    assert EQUAL_ANSWERS not in gate.summary


def test_no_comparison_at_all_is_inconclusive() -> None:
    assert assess_win_rate([], PLAN).verdict == "inconclusive"


def test_a_weighted_vote_counts_by_how_rarely_it_is_asked_for() -> None:
    rare, common = Ballot("a", True, "left", "r", 0, 1, weight=3.0), Ballot("b", True, "right", "r", 0, 2)
    assert [unit.score for unit in derive_units([rare, common]).values()] == [0.75]
