"""What was erased does not come back: every batch is held against the ledger before it is stored."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator import metrics
from services.curator.domain.arrivals import ArrivedFeedback, ArrivedInteraction
from services.curator.domain.standing import list_interactions
from services.curator.repository import erasures


def drop_erased(
    session: Session, interactions: Sequence[ArrivedInteraction], feedback: Sequence[ArrivedFeedback]
) -> tuple[list[ArrivedInteraction], list[ArrivedFeedback]]:
    """What may be stored. Dropped, unread, and buried under its id:

    - an interaction of an erased user, and what waits for it
    - feedback of an erased user, or that speaks of an erased interaction
    - whatever bears an id that was erased
    """
    users = {item.event.user for item in interactions} | {item.event.user for item in feedback}
    keys = {item.key for item in interactions} | {item.key for item in feedback}
    keys |= {key for item in feedback for key in list_interactions(item.event)}
    by_user = erasures.find_erased_users(session, {user for user in users if user is not None})
    buried = erasures.find_tombstones(session, keys)
    if not by_user and not buried:
        return list(interactions), list(feedback)
    dropped = {
        item.key: by_user[item.event.user]
        for item in interactions
        if item.event.user in by_user and item.key not in buried
    }
    _bury(session, "interaction", dropped)
    if dropped:
        waiting = erasures.delete_feedback_on(session, dropped)
        _bury(session, "event", dict.fromkeys(waiting, next(iter(dropped.values()))))
    buried |= dropped
    said = {item.key: erasure for item in feedback if (erasure := _find_erasure(item, by_user, buried)) is not None}
    _bury(session, "event", {key: erasure for key, erasure in said.items() if key not in buried})
    kept = [item for item in interactions if item.key not in buried]
    metrics.ERASED.labels("interaction").inc(len(interactions) - len(kept))
    metrics.ERASED.labels("feedback").inc(len([item for item in feedback if item.key in said]))
    return kept, [item for item in feedback if item.key not in said]


def _find_erasure(item: ArrivedFeedback, by_user: dict[str, UUID], buried: dict[UUID, UUID]) -> UUID | None:
    if item.event.user in by_user:
        return by_user[item.event.user]
    return next((buried[key] for key in (item.key, *list_interactions(item.event)) if key in buried), None)


def _bury(session: Session, kind: str, erased: dict[UUID, UUID]) -> None:
    for erasure_id in sorted(set(erased.values())):
        keys = {key for key, of in erased.items() if of == erasure_id}
        erasures.save_tombstones(session, erasure_id, kind, keys)
