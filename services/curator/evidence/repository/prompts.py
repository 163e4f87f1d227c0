"""Prompts in canonical form, and those that release 0.1.0 stored as they came."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from services.curator.evidence.repository.intake import connection_of, fetch
from shared.conversation import Conversation
from shared.tables.curator import CANONICAL_FORM, UNPLACED

_encoder = msgspec.json.Encoder()


def list_missing_prompts(session: Session, prompt_hashes: Collection[str]) -> set[str]:
    rows = fetch(session, "SELECT prompt_hash FROM curator.prompts WHERE prompt_hash = ANY(%s)", list(prompt_hashes))
    return set(prompt_hashes) - {prompt_hash for (prompt_hash,) in rows}


def load_cells(session: Session, prompt_hashes: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return (cell, split) of each of these prompts."""
    query = "SELECT prompt_hash, cell, split FROM curator.prompts WHERE prompt_hash = ANY(%s)"
    return {prompt_hash: (cell, split) for prompt_hash, cell, split in fetch(session, query, list(prompt_hashes))}


class NewPrompt(NamedTuple):
    prompt_hash: str
    conversation: Conversation
    cell: str = UNPLACED
    split: str = UNPLACED


def insert_prompts(session: Session, prompts: Sequence[NewPrompt]) -> None:
    """Store prompts and their cells, where they are new; in order, so nobody deadlocks."""
    cells = sorted({(prompt.cell, prompt.split) for prompt in prompts})
    connection = connection_of(session)
    connection.execute(
        "INSERT INTO curator.cells (cell, split) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING",
        ([cell for cell, _ in cells], [split for _, split in cells]),
    )
    connection.execute(
        """
        INSERT INTO curator.prompts (prompt_hash, messages, tools, cell, split, form)
        SELECT item->>0, item->1->'messages', nullif(item->1->'tools', '[]'), item->>2, item->>3, %s
        FROM jsonb_array_elements(%s::jsonb) AS item
        ON CONFLICT DO NOTHING
        """,
        (CANONICAL_FORM, _encoder.encode(sorted(prompts, key=lambda prompt: prompt.prompt_hash)).decode()),
    )


def list_old_prompts(session: Session, limit: int) -> dict[str, list[dict[str, Any]]]:
    """Return up to `limit` prompts of the old form: their messages by hash."""
    query = "SELECT prompt_hash, messages FROM curator.prompts WHERE form = 0 ORDER BY prompt_hash LIMIT %s"
    return dict(connection_of(session).execute(query, (limit,)).fetchall())


def load_offered_tools(session: Session, prompt_hashes: Collection[str]) -> list[tuple[UUID, str, Any]]:
    """Return (interaction, its prompt, the tools in its metadata) of everything that these prompts were asked in."""
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
