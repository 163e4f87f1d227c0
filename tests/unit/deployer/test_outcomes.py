"""What a user's first time in a stage amounts to."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.deployer.domain.outcomes import UserOutcome, derive_outcome
from services.deployer.domain.voting import JudgedAnswer
from shared.events import AnyFeedback, Complaint, Edit, Rating, Regenerate, Retract, Thumb
from tests.builders import NOON, make_feedback

UP, DOWN = Thumb(value="up"), Thumb(value="down")
HOUR = 3_600.0


def answer(*feedback: AnyFeedback, number: int = 1, at: float = 0, **changes: Any) -> JudgedAnswer:
    """An answer of the canary, `at` seconds after the first, and what was said of it, a minute apart."""
    served_at = NOON + timedelta(seconds=at)
    events = [
        make_feedback(100 * number + place, number, each, user="anna", received_at=served_at + timedelta(minutes=place))
        for place, each in enumerate(feedback, start=1)
    ]
    usual: dict[str, Any] = {"intended_version": "2", "served_version": "2", "error": None}
    return JudgedAnswer(
        interaction_id=UUID(int=number), user="anna", served_at=served_at, feedback=events, **usual | changes
    )


def derive(*answers: JudgedAnswer, seconds: float = HOUR) -> UserOutcome:
    return derive_outcome(answers, "canary", NOON, seconds)


@pytest.mark.parametrize(
    ("feedback", "value"),
    [
        ([], None),
        ([UP], 1.0),
        ([DOWN], 0.0),
        ([Rating(value=4)], 0.75),
        ([Rating(value=3)], 0.5),
        ([UP, DOWN], 0.0),
        ([DOWN, Rating(value=5)], 1.0),
        ([UP, Complaint(category="wrong")], 0.0),
        ([Edit(text="Better so.")], 0.25),
        ([Regenerate(replacement_interaction_id=UUID(int=9))], 0.25),
        ([UP, Edit(text="Better so.")], 1.0),
        ([UP, Retract(retracted_event_id=UUID(int=101))], None),
    ],
)
def test_the_last_word_on_an_answer_is_its_value(feedback: list[AnyFeedback], value: float | None):
    assert derive(answer(*feedback)).value == value


def test_an_outcome_is_the_mean_over_all_answers_that_something_was_said_of():
    assert derive(answer(UP), answer(DOWN, number=2, at=60), answer(number=3, at=120)).value == 0.5


def test_a_stop_half_way_counts_unless_something_else_was_said():
    assert derive(answer(error="client_disconnected")).value == 0.25
    assert derive(answer(UP, error="client_disconnected")).value == 1.0


def test_the_exposure_is_over_for_everybody_after_the_same_time():
    late = answer(UP, DOWN)  # down comes in the second minute
    assert derive(late, seconds=90).value == 1.0
    assert derive(late, answer(DOWN, number=2, at=100), seconds=90).value == 1.0
    assert derive(answer(UP), seconds=30).value is None


def test_a_slow_answer_leaves_as_much_time_to_speak_of_it():
    slow = answer(UP, DOWN, seconds=100.0)  # whole after 100 s; up is said after 60, down after 120
    whole_at = NOON + timedelta(seconds=100)
    assert derive_outcome([slow], "canary", whole_at, 90.0).value == 0.0
    assert derive_outcome([slow], "canary", whole_at, 10.0).value == 1.0


def test_who_said_nothing_has_an_outcome_too():
    assert derive(answer()) == UserOutcome("canary", None)
    assert derive() == UserOutcome("canary", None)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, 0.0),
        ({"error": "upstream_timeout"}, 1.0),
        ({"is_void": True}, 1.0),
        ({"served_version": "1"}, 1.0),
        ({"error": "status_422"}, 0.0),
        ({"error": "client_disconnected"}, 0.0),
    ],
)
def test_failed_empty_and_refused_answers_are_failures_and_the_clients_faults_are_not(
    changes: dict[str, Any], failed: float
):
    assert derive(answer(**changes)).failed == failed


def test_what_the_other_version_had_to_give_says_nothing_of_this_one():
    outcome = derive(answer(DOWN, served_version="1"), answer(UP, number=2, at=60))
    assert (outcome.value, outcome.failed) == (1.0, 0.5)


def test_a_harmful_complaint_is_counted_and_another_is_not():
    assert derive(answer(Complaint(category="harmful"))).is_harmed
    assert not derive(answer(Complaint(category="wrong"))).is_harmed


def test_the_time_to_an_answer_is_the_mean_over_whole_ones():
    outcome = derive(
        answer(seconds=1.0), answer(number=2, at=5, seconds=3.0), answer(number=3, at=9, error="timeout", seconds=60.0)
    )
    assert outcome.seconds == 2.0


def test_what_another_user_says_of_an_answer_is_no_part_of_its_users_outcome():
    bert = make_feedback(9, 1, Complaint(category="harmful"), user="bert", received_at=NOON + timedelta(minutes=9))
    mine = answer(UP)
    outcome = derive(replace(mine, feedback=[*mine.feedback, bert]))
    assert (outcome.value, outcome.is_harmed) == (1.0, False)
