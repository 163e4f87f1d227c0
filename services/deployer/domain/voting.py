"""What a user's feedback says about the arm that served them: one vote for each user of a rollout."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from services.deployer.domain.arms import Arm
from shared.events import Complaint, Edit, FeedbackReceived
from shared.feedback import attribute, derive_current_feedback, derive_polarity, effective_time, scope_id

STOPPED = "client_disconnected"
"""The error of an answer that its user stopped half-way: they saw enough of it to judge."""


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer served in a rollout, and all feedback on it."""

    interaction_id: UUID
    user: str
    intended_version: str | None
    served_version: str
    error: str | None
    served_at: datetime
    feedback: Sequence[FeedbackReceived]
    seconds: float | None = None
    """Until the answer was whole."""
    is_void: bool = False
    """Whether it was empty or refused."""


@dataclass(frozen=True)
class DerivedVote:
    """A vote that stands, and the event that it rests on."""

    arm: Arm
    up: bool
    event_id: UUID


def derive_vote(answers: Iterable[JudgedAnswer], arms: dict[str, Arm]) -> DerivedVote | None:
    """Return a user's vote in a rollout: about their first answer on which their last word praises or blames.

    An answer counts if the version that was meant gave it, that version is one of the two `arms`, and it did not fail;
    one that its user stopped half-way counts too.
    """
    for answer in sorted(answers, key=lambda answer: (answer.served_at, answer.interaction_id)):
        arm = arms.get(answer.served_version)
        if arm is None or answer.served_version != answer.intended_version or answer.error not in (None, STOPPED):
            continue
        if (last_word := find_last_word(answer)) is not None:
            event_id, up = last_word
            return DerivedVote(arm, up, event_id)
    return None


def find_last_word(answer: JudgedAnswer) -> tuple[UUID, bool] | None:
    """Return (the event, whether it praises) that decides what the feedback on one answer says.

    - a complaint that stands blames, whatever else was said
    - else the latest thumb or rating that praises or blames decides
    - else nothing does
    """
    standing = list_standing(answer.feedback, answer.user)
    in_order = sorted(standing, key=lambda event: (effective_time(event), event.event_id))
    complaints = [event for event in in_order if isinstance(event.feedback, Complaint)]
    if complaints:
        return complaints[-1].event_id, False
    judged = [(event.event_id, up) for event in in_order if (up := derive_polarity(event.feedback)) is not None]
    return judged[-1] if judged else None


def list_standing(feedback: Iterable[FeedbackReceived], user: str) -> list[FeedbackReceived]:
    """Return the feedback of `user` on their answer that stands; what does not say whose it is, is theirs.

    What others say of it (whoever a link was shared with) is no word of the user who was served.
    """
    return [event for event in derive_current_feedback(_assign_ids(feedback, user)) if event.user == user]


def list_event_ids(answers: Iterable[JudgedAnswer]) -> set[UUID]:
    """Return the ids under which the feedback on these answers stands."""
    return {event.event_id for answer in answers for event in _assign_ids(answer.feedback, answer.user)}


def _assign_ids(feedback: Iterable[FeedbackReceived], user: str) -> list[FeedbackReceived]:
    """Give each key's event an id of its own, the smallest key's the plain one; unnamed users are the answer's."""
    taken: set[UUID] = set()
    assigned = []
    for event in sorted(feedback, key=lambda event: (event.event_id, event.key_id)):
        event_id = scope_id(event.event_id, event.key_id) if event.event_id in taken else event.event_id
        taken.add(event.event_id)
        assigned.append(attribute(event, event_id, user))
    return assigned


def strip_text(event: FeedbackReceived) -> FeedbackReceived:
    """Return the event without free text and metadata, which no vote needs."""
    feedback = event.feedback
    if isinstance(feedback, Complaint):
        feedback = msgspec.structs.replace(feedback, text=None)
    elif isinstance(feedback, Edit):
        feedback = Edit(text="-")  # an edit has some text
    return msgspec.structs.replace(event, feedback=feedback, metadata=None)
