from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

from shared.events import AnyFeedback, Comment, FeedbackReceived, Rating, Retract, Thumb
from shared.feedback import derive_current_feedback, derive_polarity

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
ANSWER = UUID(int=1)


def said(number: int, feedback: AnyFeedback, *, minute: int, user: str = "anna") -> FeedbackReceived:
    at = NOON + timedelta(minutes=minute)
    return FeedbackReceived(
        event_id=UUID(int=number), interaction_id=ANSWER, feedback=feedback, received_at=at, key_id="k", user=user
    )


def list_standing(*events: FeedbackReceived) -> list[int]:
    """The numbers of the events that stand, in whatever order all of them come."""
    found = {tuple(event.event_id.int for event in derive_current_feedback(order)) for order in permutations(events)}
    [standing] = found
    return list(standing)


DOWN, UP = Thumb(value="down"), Thumb(value="up")


def test_withdrawing_the_last_word_does_not_bring_an_earlier_one_back() -> None:
    down, up = said(1, DOWN, minute=1), said(2, UP, minute=2)
    assert list_standing(down, up, said(3, Retract(retracted_event_id=UUID(int=2)), minute=3)) == []


def test_withdrawing_an_earlier_word_leaves_the_last_one() -> None:
    down, up = said(1, DOWN, minute=1), said(2, UP, minute=2)
    assert list_standing(down, up, said(3, Retract(retracted_event_id=UUID(int=1)), minute=3)) == [2]


def test_what_is_said_after_a_retraction_stands() -> None:
    up, retraction = said(1, UP, minute=1), said(2, Retract(retracted_event_id=UUID(int=1)), minute=2)
    assert list_standing(up, retraction, said(3, DOWN, minute=3)) == [3]


def test_an_event_retracted_and_sent_anew_at_its_old_time_stands() -> None:
    up, retraction = said(5, UP, minute=1), said(2, Retract(retracted_event_id=UUID(int=5)), minute=2)
    assert list_standing(up, retraction, said(3, UP, minute=1)) == [3]


def test_saying_the_same_again_says_nothing_new() -> None:
    up, again = said(5, UP, minute=1), said(2, UP, minute=2)
    assert list_standing(up, again) == [5]
    assert list_standing(said(1, UP, minute=0), said(4, DOWN, minute=1), said(3, UP, minute=2)) == [3], (
        "a change of mind"
    )
    assert list_standing(up, again, said(3, Retract(retracted_event_id=UUID(int=5)), minute=3)) == [2]
    assert list_standing(up, again, said(3, Retract(retracted_event_id=UUID(int=2)), minute=3)) == []


def test_each_type_has_a_last_word_of_its_own() -> None:
    assert list_standing(said(1, DOWN, minute=1), said(2, Rating(value=5), minute=2)) == [1, 2]


def test_the_middle_rating_neither_praises_nor_blames() -> None:
    assert [derive_polarity(Rating(value=stars)) for stars in range(1, 6)] == [False, False, None, True, True]


def test_a_thumb_praises_or_blames() -> None:
    assert derive_polarity(Thumb(value="up")) is True
    assert derive_polarity(Thumb(value="down")) is False


def test_a_comment_neither_praises_nor_blames() -> None:
    assert derive_polarity(Comment(text="Thanks for nothing.")) is None
