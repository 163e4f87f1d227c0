"""What a report says of its raters."""

import pytest

from services.evaluator.domain.votes.ballots import Ballot, Vote
from services.evaluator.domain.votes.raters import calculate_agreement, describe_raters


def look(prompt: str, is_left: bool, vote: Vote, rater: str | None, cast: float) -> Ballot:
    return Ballot(prompt, is_left, vote, rater, cast=cast)


def test_each_rater_is_described_and_nobody_is_named() -> None:
    told = describe_raters(
        [
            look("a", True, "left", "Grace", 2),
            look("a", False, "right", "Grace", 3),
            look("b", True, "left", "Ada", 1),
            look("b", False, "left", "Ada", 4),
            look("c", True, "tie", None, 0),
        ]
    )
    assert told == [
        {"rater": 1, "votes": 2, "score": 0.5, "leaning": -0.25, "left_share": 1.0, "consistent": 0.0},
        {"rater": 2, "votes": 2, "score": 1.0, "leaning": 0.25, "left_share": 0.5, "consistent": 1.0},
    ]


def test_alpha_is_that_of_a_worked_example() -> None:
    """Two raters, ten units, of which six alike: Krippendorff 2011, section A, gives .095."""
    first, second = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    ballots = [
        look(f"unit-{unit}", True, "left" if code else "right", rater, unit)
        for rater, codes in (("one", first), ("two", second))
        for unit, code in enumerate(codes)
    ]
    assert calculate_agreement(ballots) == pytest.approx(0.095, abs=0.001)


def test_without_shared_prompts_there_is_no_agreement_to_speak_of() -> None:
    assert calculate_agreement([look("a", True, "left", "Ada", 0), look("b", True, "left", "Grace", 1)]) is None
    assert calculate_agreement([]) is None
