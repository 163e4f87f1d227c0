"""Prompts that release 0.1.0 stored, and what is needed to convert them to canonical form."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.evidence.repository.intake import connection_of, fetch
from shared.tables.curator import CANONICAL_FORM


def list_old_prompts(session: Session, limit: int) -> dict[str, list[dict[str, Any]]]:
    """Up to `limit` prompts of the old form: their messages by hash."""
    query = "SELECT prompt_hash, messages FROM curator.prompts WHERE form = 0 ORDER BY prompt_hash LIMIT %s"
    return dict(connection_of(session).execute(query, (limit,)).fetchall())


def load_offered_tools(session: Session, prompt_hashes: Collection[str]) -> list[tuple[UUID, str, Any]]:
    """(interaction, its prompt, the tools in its metadata) of everything that these prompts were asked in."""
    query = """
        SELECT interaction_id, prompt_hash, event->'metadata'->'tools'
        FROM curator.interactions WHERE prompt_hash = ANY(%s) ORDER BY interaction_id
    """
    return [(key, prompt_hash, tools) for key, prompt_hash, tools in fetch(session, query, prompt_hashes)]


def move_interactions(session: Session, moved: Sequence[tuple[UUID, str]]) -> None:
    """Put each interaction under another prompt."""
    connection_of(session).execute(
        """
        UPDATE curator.interactions SET prompt_hash = moved.prompt_hash
        FROM unnest(%s::uuid[], %s::text[]) AS moved (interaction_id, prompt_hash)
        WHERE interactions.interaction_id = moved.interaction_id
        """,
        ([key for key, _ in moved], [prompt_hash for _, prompt_hash in moved]),
    )


def mark_canonical(session: Session, prompt_hashes: Collection[str]) -> None:
    """Take these prompts for converted: either their form was canonical already, or nothing is asked in it any more."""
    query = "UPDATE curator.prompts SET form = %s WHERE prompt_hash = ANY(%s)"
    connection_of(session).execute(query, (CANONICAL_FORM, sorted(prompt_hashes)))
