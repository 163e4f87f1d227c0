"""Users who were erased leave the deployer's tables; the votes that they cast go on counting."""

from collections.abc import Collection

from sqlalchemy import Text, delete, func, literal, select, update
from sqlalchemy.orm import Session

from shared.tables.deployer import RolloutFeedback, ServedInteraction, Vote
from shared.tables.erasures import Erasure


def find_erased_users(session: Session, users: Collection[str]) -> set[str]:
    """Return those of these users who are in the erasure ledger."""
    return set(session.scalars(select(Erasure.user).where(Erasure.user.in_(users)))) if users else set()


def erase_users(session: Session) -> int:
    """Take every user whose erasure is under way out of answers, feedback and votes; returns the rows that changed."""
    erased = list(session.scalars(select(Erasure.user).where(Erasure.state == "running")))
    if not erased:
        return 0
    nobody = "erased:" + func.gen_random_uuid().cast(Text)
    changes = (
        update(Vote).where(Vote.user.in_(erased)).values(user=nobody),
        update(ServedInteraction).where(ServedInteraction.user.in_(erased)).values(user=None),
        delete(RolloutFeedback).where(RolloutFeedback.event["user"].astext.in_(erased)),
    )
    return sum(len(session.execute(change.returning(literal(1))).all()) for change in changes)
