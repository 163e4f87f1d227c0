"""What a user's feedback says about the arm that served them."""

from datetime import timedelta
from itertools import permutations
from uuid import UUID

import pytest

from services.deployer.domain.voting import JudgedAnswer, derive_vote, strip_text
from shared.events import AnyFeedback, Comment, Complaint, FeedbackReceived, Rating, Retract, Thumb
from tests.builders import NOON, make_feedback

UP, DOWN = Thumb(value="up"), Thumb(value="down")
HARMFUL = Complaint(category="harmful", text="It told me to mix bleach and vinegar.")


def take_back(number: int) -> Retract:
    return Retract(retracted_event_id=UUID(int=number))


def answer(
    *feedback: FeedbackReceived, number: int = 1, served: str = "2", intended: str = "2", error: str | None = None
) -> JudgedAnswer:
    served_at = NOON + timedelta(seconds=number)
    return JudgedAnswer(UUID(int=number), "anna", intended, served, error, served_at, feedback)


def say(*feedback: AnyFeedback) -> list[FeedbackReceived]:
    """One event after the other on answer 1, a minute apart, numbered from 1."""
    return [
        make_feedback(number, 1, each, user="anna", received_at=NOON + timedelta(minutes=number))
        for number, each in enumerate(feedback, start=1)
    ]


def find_vote(*answers: JudgedAnswer) -> tuple[str, bool] | None:
    vote = derive_vote(answers, {"2": "canary", "1": "champion"})
    return (vote.arm, vote.up) if vote else None


@pytest.mark.parametrize(
    ("feedback", "vote"),
    [
        ([UP], True),
        ([UP, take_back(1)], None),
        ([UP, take_back(1), DOWN], False),
        ([DOWN, UP, take_back(2)], None),
        ([DOWN, UP], True),
        ([HARMFUL], False),
        ([Rating(value=1)], False),
        ([Rating(value=3)], None),
        ([Rating(value=5)], True),
        ([HARMFUL, Rating(value=1)], False),
        ([UP, HARMFUL], False),
        ([HARMFUL, UP], False),
        ([HARMFUL, take_back(1), UP], True),
        ([Comment(text="Hm.")], None),
        ([], None),
    ],
)
def test_the_last_word_on_an_answer_is_the_vote(feedback: list[AnyFeedback], vote: bool | None) -> None:
    expected = None if vote is None else ("canary", vote)
    assert {find_vote(answer(*order)) for order in permutations(say(*feedback))} == {expected}


def test_an_answer_that_its_user_stopped_half_way_counts() -> None:
    assert find_vote(answer(*say(DOWN), error="client_disconnected")) == ("canary", False)
    assert find_vote(answer(*say(DOWN), error="upstream_timeout")) is None


def test_two_keys_with_one_event_id_are_two_events() -> None:
    first = make_feedback(7, 1, UP, user="anna", key_id="shop", received_at=NOON)
    second = make_feedback(7, 1, DOWN, user="anna", key_id="app", received_at=NOON + timedelta(minutes=1))
    retraction = make_feedback(8, 1, take_back(7), user="anna", key_id="app", received_at=NOON + timedelta(minutes=2))
    assert find_vote(answer(first, second)) == ("canary", False)
    assert find_vote(answer(first, second, retraction)) is None
    assert find_vote(answer(first, retraction)) is None


def test_the_first_answer_that_was_judged_decides_for_its_user() -> None:
    unsaid, praised = answer(number=1), answer(*say(UP), number=2)
    blamed = answer(*say(DOWN), number=3, served="1", intended="1")
    assert find_vote(blamed, praised, unsaid) == ("canary", True)


def test_what_another_version_gave_is_no_vote() -> None:
    assert find_vote(answer(*say(UP), served="1", intended="2")) is None
    assert find_vote(answer(*say(UP), served="7", intended="7")) is None


def test_no_text_is_kept_for_a_vote() -> None:
    [event] = say(HARMFUL)
    assert strip_text(event).feedback == Complaint(category="harmful")


def test_what_another_user_says_of_an_answer_is_not_its_users_word():
    anna = make_feedback(1, 1, DOWN, user="anna", received_at=NOON + timedelta(minutes=1))
    bert = make_feedback(2, 1, UP, user="bert", received_at=NOON + timedelta(minutes=2))
    unnamed = make_feedback(3, 1, UP, received_at=NOON + timedelta(minutes=3))
    assert find_vote(answer(anna, bert)) == ("canary", False)
    assert find_vote(answer(bert)) is None
    assert find_vote(answer(anna, bert, unnamed)) == ("canary", True)
