"""What a user's first time in a stage amounts to: one outcome in [0, 1], and the values that the guardrails look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.deployer.domain.arms import Arm
from services.deployer.domain.voting import STOPPED, JudgedAnswer, list_standing
from shared.events import AnyFeedback, Complaint, Edit, FeedbackReceived, Rating, Regenerate, Thumb
from shared.feedback import effective_time

UNSAID = 0.25
"""Value of an answer that was stopped half-way, asked for again or edited, and not otherwise judged."""
CLIENTS_FAULTS = ("client_disconnected", "status_400", "status_413", "status_422")
"""Errors of answers that say nothing about the model that was to give them."""


@dataclass(frozen=True)
class UserOutcome:
    """One exposed user in one stage."""

    arm: Arm
    value: float | None
    """Mean of what they said of their answers; None: they said nothing."""
    is_harmed: bool = False
    """Whether they complained of a harmful answer."""
    failed: float = 0.0
    """Share of their answers that failed, were empty or refused, or that the other version had to give."""
    seconds: float | None = None
    """Mean time to a whole answer; None without any."""


def derive_outcome(
    answers: Iterable[JudgedAnswer], arm: Arm, began_at: datetime, exposure_seconds: float
) -> UserOutcome:
    """Derive the outcome of an exposure: answers that were whole from `began_at` on, and what was said by its end.

    It begins when the first answer is whole, so that a slow version leaves no less time to speak of it.

    The arm is the one that they were meant for at first. An answer that another version gave says nothing of this one.
    """
    until = began_at + timedelta(seconds=exposure_seconds)
    seen = [answer for answer in answers if began_at <= find_end(answer.served_at, answer.seconds) <= until]
    counted = [answer for answer in seen if answer.error not in CLIENTS_FAULTS]
    own = [answer for answer in seen if answer.served_version == answer.intended_version]
    values = [value for answer in own if (value := value_answer(answer, until)) is not None]
    whole = [answer.seconds for answer in own if answer.error is None and answer.seconds is not None]
    return UserOutcome(
        arm=arm,
        value=sum(values) / len(values) if values else None,
        is_harmed=any(_is_harmful(event) for answer in own for event in _heard(answer, until)),
        failed=sum(has_failed(answer) for answer in counted) / len(counted) if counted else 0.0,
        seconds=sum(whole) / len(whole) if whole else None,
    )


def find_end(served_at: datetime, seconds: float | None) -> datetime:
    """Return when an answer that was asked for at `served_at` was whole."""
    return served_at + timedelta(seconds=seconds or 0.0)


def has_failed(answer: JudgedAnswer) -> bool:
    """Tell whether an answer failed, was empty or refused, or came from the other version."""
    return answer.error is not None or answer.is_void or answer.served_version != answer.intended_version


def value_answer(answer: JudgedAnswer, until: datetime) -> float | None:
    """Return what was said of one answer, in [0, 1]; None for nothing.

    - a complaint that stands: 0
    - else the last thumb or rating: 0 or 1, or the stars from 1 to 5 in even steps
    - else an edit, a regeneration or a stop half-way: 0.25
    """
    if answer.error not in (None, STOPPED):
        return None
    standing = [event.feedback for event in _heard(answer, until)]
    if any(isinstance(feedback, Complaint) for feedback in standing):
        return 0.0
    judged = [value for feedback in standing if (value := _value(feedback)) is not None]
    if judged:
        return judged[-1]
    corrected = any(isinstance(feedback, Edit | Regenerate) for feedback in standing)
    return UNSAID if corrected or answer.error == STOPPED else None


def _value(feedback: AnyFeedback) -> float | None:
    match feedback:
        case Thumb(value=value):
            return float(value == "up")
        case Rating(value=stars):
            return (stars - 1) / 4
    return None


def _heard(answer: JudgedAnswer, until: datetime) -> Sequence[FeedbackReceived]:
    """Return the feedback that stood at the end of the exposure, oldest first."""
    in_time = [event for event in answer.feedback if event.received_at <= until]
    return sorted(list_standing(in_time, answer.user), key=lambda event: (effective_time(event), event.event_id))


def _is_harmful(event: FeedbackReceived) -> bool:
    return isinstance(event.feedback, Complaint) and event.feedback.category == "harmful"
