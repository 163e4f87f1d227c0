"""All candidates of a request: at most one goes on, at its share of the level."""

from typing import Any

import numpy as np

from services.evaluator.domain.entrants import Entrant, hold_contest
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.domain.rules import MarginRule, RatioRule, SafetyRule
from services.evaluator.domain.votes.ballots import Ballot, Vote, derive_units
from services.evaluator.domain.votes.tournament import decide_tournament, find_levels, split_candidates
from services.evaluator.domain.votes.win_rate import VotingPlan

LAX = MarginRule(blocks="never")
POLICY = Policy(
    length=RatioRule(blocks="never"),
    empty_answers=LAX,
    repetition=LAX,
    refusals=LAX,
    safety=SafetyRule(least=1),
)
GENERATION: dict[str, Any] = {"gate_prompts": 40, "colliding": 0, "training_texts": 9, "harmful": {}}


def cast(random: np.random.Generator, rates: dict[str, float], raters: int = 20) -> list[Ballot]:
    """Each rater, who leans for all candidates alike, judges two prompts of every candidate in both orders."""
    ballots: list[Ballot] = []
    for rater in range(raters):
        lean = 0.2 * random.choice([-1.0, 1.0])
        for prompt in (2 * rater, 2 * rater + 1):
            for candidate, rate in rates.items():
                for is_left in (True, False):
                    won = random.random() < np.clip(rate + lean, 0, 1)
                    vote: Vote = "left" if won == is_left else "right"
                    place = float(len(ballots))
                    ballots.append(Ballot(f"p{prompt}", is_left, vote, f"r{rater}", rater, place, 1.0, candidate))
    return ballots


def enter(version: str, said: str = "Send it back.") -> Entrant:
    prompts = [JudgedPrompt(f"p{number}", [], f"{said} {number}", f"It depends. {number}") for number in range(40)]
    return Entrant(version, prompts, GENERATION)


def test_candidates_share_the_level_and_none_goes_on_for_less() -> None:
    """What it is worth is simulated where the bets are (`test_tournament`): here each gate has its share of it."""
    ballots = cast(np.random.default_rng(20), {"2": 0.5, "3": 0.5, "4": 0.4})
    contest = hold_contest([enter("2"), enter("3"), enter("4")], ballots, POLICY)
    assert contest.tournament is not None
    assert contest.tournament["winner"] is None
    [told] = [gate.summary for gate in contest.gates if gate.name == "win_rate"]
    assert "98.3% interval" in told


def test_the_best_that_passes_every_gate_goes_on() -> None:
    ballots = cast(np.random.default_rng(3), {"2": 0.95, "3": 0.95, "4": 0.5})
    contest = hold_contest([enter("2", "Go die."), enter("3"), enter("4")], ballots, POLICY)
    assert contest.tournament is not None
    assert (contest.version, contest.tournament["winner"]) == ("3", "3")
    assert {gate.name: gate.verdict for gate in contest.gates}["win_rate"] == "pass"
    stopped = {place["candidate"]: place["stopped_by"] for place in contest.tournament["places"]}
    assert (stopped["2"], stopped["3"]) == (["safety"], [])
    assert stopped["4"] == ["win_rate"]


def test_one_candidate_alone_is_judged_at_the_whole_level_and_in_no_tournament() -> None:
    contest = hold_contest([enter("2")], cast(np.random.default_rng(4), {"2": 0.95}), POLICY)
    assert contest.tournament is None
    assert "95% interval" in next(gate.summary for gate in contest.gates if gate.name == "win_rate")


def test_the_levels_are_holms() -> None:
    levels = find_levels({"a": 500.0, "b": 90.0, "c": 10.0}, 0.03)
    assert levels == {"a": 0.01, "b": 0.015, "c": 0.03}
    stuck = find_levels({"a": 99.0, "b": 90.0, "c": 10.0}, 0.03)
    assert set(stuck.values()) == {0.01}, "who comes after a failure has no larger share"
    assert find_levels({"a": 1.0}, 0.025) == {"a": 0.025}


def test_a_pile_has_one_rater_for_all_candidates() -> None:
    votes = [
        Ballot("p0", True, "left", "anna", 0, 0.0, 1.0, "2"),
        Ballot("p0", True, "right", "ben", 0, 1.0, 1.0, "3"),
    ]
    split = split_candidates(votes)
    assert [ballot.rater for ballot in split["2"]] == ["anna"]
    assert not derive_units(split["3"])


def test_voting_goes_on_while_it_does_for_one_candidate() -> None:
    random, plan = np.random.default_rng(5), VotingPlan(raters=40)
    clear = cast(random, {"2": 1.0, "3": 1.0}, raters=12)
    assert decide_tournament(clear, VotingPlan(raters=12)) == "decided"
    unclear = cast(random, {"2": 1.0, "3": 0.6}, raters=12)
    waiting = [Ballot("p99", True, None, None, 99, 0.0, 1.0, candidate) for candidate in ("2", "3")]
    assert decide_tournament([*unclear, *waiting], plan) == "go on"
