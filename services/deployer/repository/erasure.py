"""Users who were erased leave the deployer's tables; the votes that they cast go on counting."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Text, Uuid, delete, func, literal, select, update
from sqlalchemy.orm import Session

from shared.tables.deployer import Exposure, RolloutFeedback, ServedInteraction, Vote
from shared.tables.erasures import Erasure, Tombstone


def find_erased_users(session: Session, users: Collection[str]) -> set[str]:
    """Return those of these users who are in the erasure ledger."""
    return set(session.scalars(select(Erasure.user).where(Erasure.user.in_(users)))) if users else set()


def is_erased_answer(session: Session, interaction_id: UUID) -> bool:
    """Tell whether the answer was an erased user's, whatever is said of it."""
    return session.get(Tombstone, (str(interaction_id), "interaction")) is not None


def erase_users(session: Session) -> int:
    """Take every user whose erasure is under way out of answers, feedback and votes; returns the rows that changed.

    What others said of their answers goes too: it may repeat their words.
    """
    erased = list(session.scalars(select(Erasure.user).where(Erasure.state == "running")))
    if not erased:
        return 0
    nobody = "erased:" + func.gen_random_uuid().cast(Text)
    answers = select(Tombstone.subject.cast(Uuid)).join(Erasure, Erasure.erasure_id == Tombstone.erasure_id)
    theirs = answers.where(Erasure.state == "running", Tombstone.kind == "interaction")
    changes = (
        update(Vote).where(Vote.user.in_(erased)).values(user=nobody),
        update(Exposure).where(Exposure.user.in_(erased)).values(user=nobody),
        update(ServedInteraction).where(ServedInteraction.user.in_(erased)).values(user=None),
        delete(RolloutFeedback).where(RolloutFeedback.event["user"].astext.in_(erased)),
        delete(RolloutFeedback).where(RolloutFeedback.interaction_id.in_(theirs)),
    )
    return sum(len(session.execute(change.returning(literal(1))).all()) for change in changes)
