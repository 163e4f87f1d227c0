"""List what a caller has said of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from services.ingest.adapters.authentication import Principal
from services.ingest.repository import FeedbackRow, has_interaction, list_feedback
from shared.db import SessionFactory
from shared.errors import NotFound, Unavailable
from shared.user_hashes import FindUserHashes

MOST_EVENTS = 1_000
"""Of one answer: people say a few things of it, a stranger any number."""


class InteractionNotFound(NotFound):
    title = "Interaction not found"


@dataclass(frozen=True)
class FeedbackHistory:
    """Reads the curator's tables: what is on the bus but not yet consumed is not listed."""

    sessions: SessionFactory
    find_user_hashes: FindUserHashes

    def list_events(self, principal: Principal, interaction_id: UUID, user_id: str | None) -> list[dict[str, Any]]:
        """Return the caller's events on an answer, the latest `MOST_EVENTS`, in the order in which they happened.

        With a token, or with `user_id`, only that user's.

        Raises: Forbidden, InteractionNotFound, Unavailable.
        """
        principal.check_interactions(interaction_id)
        users: list[str | None] = []
        if principal.token is not None or user_id is not None:
            hashes = self.find_user_hashes()
            users.append(hashes.carry(principal.draw_user(user_id, None, hashes)))
        return [_describe(row) for row in self._load(interaction_id, principal.key_id, users)]

    def _load(self, interaction_id: UUID, key_id: str, users: Sequence[str | None]) -> list[FeedbackRow]:
        try:
            with self.sessions() as session:
                if not has_interaction(session, interaction_id):
                    raise InteractionNotFound(f"no interaction {interaction_id} is known (yet)")
                return list_feedback(session, interaction_id, key_id, MOST_EVENTS, *users)
        except SQLAlchemyError as error:
            raise Unavailable("the database does not answer; feedback is taken all the same") from error


def _describe(row: FeedbackRow) -> dict[str, Any]:
    """Return the event as it was sent, with the time at which it counts."""
    event = row.event
    return {
        "event_id": event.get("event_id", row.event_id),
        "happened_at": row.happened_at,
        **event.get("feedback", {}),
        "metadata": event.get("metadata"),
    }
