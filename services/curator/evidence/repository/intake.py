"""What a batch of evidence reads and writes: one statement each for all of it, on the session's own connection."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from sqlalchemy.orm import Session

from services.curator.evidence.domain.deduplication import ReceivedFeedback, ReceivedInteraction
from shared.db import ConcurrentChange
from shared.events import InteractionRecorded
from shared.feedback import effective_time, list_interactions, scope_id

_encoder = msgspec.json.Encoder()

Row = dict[str, object]
"""Of a table, by column."""


def connection_of(session: Session) -> psycopg.Connection[tuple[Any, ...]]:
    """Return the psycopg connection of the session's transaction: COPY and arrays cost a tenth of the ORM."""
    return cast("psycopg.Connection[tuple[Any, ...]]", session.connection().connection.driver_connection)


def copy_rows(session: Session, table: str, rows: Sequence[Row]) -> None:
    """Copy (SQL's COPY) rows of the same columns into a table of the schema.

    Raises:
        ConcurrentChange: one of them is there by now.
    """
    if not rows:
        return
    names = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    statement = sql.SQL("COPY curator.{} ({}) FROM STDIN").format(sql.Identifier(table), names)
    try:
        with connection_of(session).cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(list(row.values()))
    except psycopg.errors.UniqueViolation as error:
        raise ConcurrentChange(f"rows of {table} were written meanwhile") from error


def fetch(session: Session, query: str, keys: Collection[UUID] | Collection[str]) -> list[tuple[Any, ...]]:
    """Load the rows of a query over keys (ids or hashes), which it names as `%s`, an array."""
    return connection_of(session).execute(cast("Any", query), (array_of(keys),)).fetchall()


def array_of(keys: Collection[UUID] | Collection[str]) -> str:
    """Write an array literal of ids or hashes, which need no quoting: psycopg's own takes 3 µs for each."""
    return "{" + ",".join(map(str, keys)) + "}"


def load_interaction_hashes(session: Session, keys: Collection[UUID]) -> dict[UUID, str]:
    """Load the content hash of each of these that is stored."""
    query = "SELECT interaction_id, content_hash FROM curator.interactions WHERE interaction_id = ANY(%s)"
    rows = fetch(session, query, keys)
    return dict(cast("list[tuple[UUID, str]]", rows))


@dataclass(frozen=True, slots=True)
class StoredFeedback:
    content_hash: str
    received_at: datetime
    key_id: str


def load_stored_feedback(session: Session, keys: Collection[UUID]) -> dict[UUID, StoredFeedback]:
    """Load what is stored under each of these ids."""
    query = "SELECT event_id, content_hash, received_at, key_id FROM curator.feedback WHERE event_id = ANY(%s)"
    rows = fetch(session, query, keys)
    return {key: StoredFeedback(*row) for key, *row in rows}


def move_feedback(session: Session, given_up: Mapping[UUID, str]) -> set[str]:
    """Give the feedback of these (id: key id) the ids of its key alone; return the prompt groups it belongs to."""
    rows: list[tuple[Any, ...]] = []
    for event_id, key_id in sorted(given_up.items()):
        rows += connection_of(session).execute(
            "UPDATE curator.feedback SET event_id = %s WHERE event_id = %s AND key_id = %s RETURNING interaction_id",
            (scope_id(event_id, key_id), event_id, key_id),
        )
    return set(load_prompts_of(session, {interaction_id for (interaction_id,) in rows}).values())


def load_prompts_of(session: Session, keys: Collection[UUID]) -> dict[UUID, str]:
    """Load the prompt hash of each interaction that is stored."""
    query = "SELECT interaction_id, prompt_hash FROM curator.interactions WHERE interaction_id = ANY(%s)"
    rows = fetch(session, query, keys)
    return dict(cast("list[tuple[UUID, str]]", rows))


def copy_interactions(session: Session, received: Sequence[ReceivedInteraction]) -> None:
    copy_rows(session, "interactions", [_interaction_row(item) for item in received])


def replace_interactions(session: Session, received: Sequence[ReceivedInteraction]) -> None:
    _update_rows(session, "interactions", [_interaction_row(item) for item in received])


def copy_feedback(session: Session, received: Sequence[tuple[ReceivedFeedback, str]]) -> None:
    """Store (feedback, its state)."""
    copy_rows(session, "feedback", [_feedback_row(item, state) for item, state in received])


def replace_feedback(session: Session, received: Sequence[tuple[ReceivedFeedback, str]]) -> None:
    _update_rows(session, "feedback", [_feedback_row(item, state) for item, state in received])


def _update_rows(session: Session, table: str, rows: Sequence[Row]) -> None:
    """Overwrite rows by their first column."""
    key, *others = rows[0]
    statement = sql.SQL("UPDATE curator.{} SET {} WHERE {} = {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in others),
        sql.Identifier(key),
        sql.Placeholder(key),
    )
    with connection_of(session).cursor() as cursor:
        cursor.executemany(statement, rows)


def mark_attached(session: Session, keys: Collection[UUID]) -> None:
    connection_of(session).execute(
        "UPDATE curator.feedback SET state = 'attached' WHERE event_id = ANY(%s)", (array_of(keys),)
    )


def load_feedback_about(session: Session, keys: Collection[UUID]) -> list[tuple[UUID, UUID, UUID | None, str]]:
    """Load (event id, interaction, other interaction, state) of the feedback about these interactions.

    Locked: of two consumers that store the two answers of one parked choice at once, the second must see what the
    first committed, or neither would attach it.
    """
    found: dict[UUID, tuple[UUID, UUID, UUID | None, str]] = {}
    for column in ("interaction_id", "other_interaction_id"):
        query = f"""
            SELECT event_id, interaction_id, other_interaction_id, state FROM curator.feedback
            WHERE {column} = ANY(%s) ORDER BY event_id FOR UPDATE
        """
        for row in fetch(session, query, keys):
            found[row[0]] = cast("tuple[UUID, UUID, UUID | None, str]", row)
    return [found[key] for key in sorted(found)]


def load_interaction_bodies(session: Session, keys: Collection[UUID]) -> list[tuple[UUID, str, str, dict[str, Any]]]:
    """Load (id, content hash, prompt hash, whole event) of stored interactions."""
    rows = fetch(
        session,
        """
        SELECT interaction_id, content_hash, prompt_hash,
               interactions.event || jsonb_build_object('messages', messages, 'answer', answer)
        FROM curator.interactions JOIN curator.prompts USING (prompt_hash) WHERE interaction_id = ANY(%s)
        """,
        keys,
    )
    return cast("list[tuple[UUID, str, str, dict[str, Any]]]", rows)


def load_feedback_bodies(session: Session, keys: Collection[UUID]) -> list[tuple[UUID, str, UUID, dict[str, Any]]]:
    """Load (id, content hash, interaction, whole event) of stored feedback."""
    query = "SELECT event_id, content_hash, interaction_id, event FROM curator.feedback WHERE event_id = ANY(%s)"
    return cast("list[tuple[UUID, str, UUID, dict[str, Any]]]", fetch(session, query, keys))


def save_conflicting_events(session: Session, bodies: Sequence[tuple[UUID, str, object]]) -> None:
    """Store (id, content hash, event) of bodies that lost their id to another."""
    with connection_of(session).cursor() as cursor:
        cursor.executemany(
            "INSERT INTO curator.conflicting_events (event_id, content_hash, event) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            [
                (key, content_hash, _encoder.encode(body).decode())
                for key, content_hash, body in sorted(bodies, key=str)
            ],
        )


def save_receptions(session: Session, earlier: Sequence[ReceivedFeedback]) -> None:
    """Save that feedback was received earlier; if the client gave no time, it also happened then."""
    rows: list[Row] = [
        {
            "event_id": item.key,
            "happened_at": effective_time(item.event),
            "received_at": item.event.received_at,
            "event": _encoder.encode(item.event).decode(),
        }
        for item in earlier
    ]
    _update_rows(session, "feedback", rows)


def _interaction_row(item: ReceivedInteraction) -> Row:
    event = item.event
    return {
        "interaction_id": event.interaction_id,
        "key_id": event.key_id,
        "prompt_hash": item.prompt_hash,
        "answer": event.answer,
        "model_version": event.model_version,
        "served_at": event.served_at,
        "user": event.user,
        "conversation_id": event.conversation_id,
        "error": event.error,
        "content_hash": item.content_hash,
        "event": _encode_without_text(event),
        "redacted": item.redacted,
    }


def _encode_without_text(event: InteractionRecorded) -> str:
    """Encode the event as JSON, without what has columns of its own."""
    content: dict[str, Any] = msgspec.to_builtins(event)
    del content["messages"], content["answer"]
    return _encoder.encode(content).decode()


def _feedback_row(item: ReceivedFeedback, state: str) -> Row:
    event = item.event
    return {
        "event_id": item.key,
        "key_id": event.key_id,
        "interaction_id": event.interaction_id,
        "other_interaction_id": next(iter(list_interactions(event)[1:]), None),
        "type": event.feedback.__struct_config__.tag,
        "user": event.user,
        "happened_at": effective_time(event),
        "received_at": event.received_at,
        "content_hash": item.content_hash,
        "state": state,
        "event": _encoder.encode(event).decode(),
        "redacted": item.redacted,
    }


def find_erased_users(session: Session, users: Collection[str]) -> dict[str, UUID]:
    """Find the erasure of each of these users that has one."""
    query = 'SELECT "user", erasure_id FROM curator.erasures WHERE "user" = ANY(%s)'
    return {user: erasure_id for user, erasure_id in fetch(session, query, users)}  # noqa: C416


def find_withdrawn_imports(session: Session, names: Collection[str]) -> dict[str, UUID]:
    """Find the withdrawal of each of these imports that was taken back."""
    query = "SELECT name, withdrawal_id FROM curator.import_withdrawals WHERE name = ANY(%s)"
    return dict(connection_of(session).execute(query, (list(names),)).fetchall()) if names else {}


def find_tombstones(session: Session, keys: Collection[UUID]) -> dict[UUID, UUID]:
    """Find the erasure of each of these events or interactions that was erased."""
    query = "SELECT subject, erasure_id FROM curator.tombstones WHERE subject = ANY(%s) AND kind <> 'pair'"
    return {UUID(subject): erasure_id for subject, erasure_id in fetch(session, query, keys)}


def save_tombstones(session: Session, erasure_id: UUID, kind: str, keys: Collection[UUID] | Collection[str]) -> None:
    connection_of(session).execute(
        """
        INSERT INTO curator.tombstones (subject, kind, erasure_id)
        SELECT subject, %s, %s FROM unnest(%s::text[]) AS subject ORDER BY subject ON CONFLICT DO NOTHING
        """,
        (kind, erasure_id, array_of(keys)),
    )


def delete_feedback_on(session: Session, keys: Collection[UUID]) -> set[UUID]:
    """Delete feedback that waits for interactions which will never be stored; return its ids."""
    deleted: set[UUID] = set()
    for column in ("interaction_id", "other_interaction_id"):
        query = f"DELETE FROM curator.feedback WHERE {column} = ANY(%s) RETURNING event_id"
        deleted |= {event_id for (event_id,) in fetch(session, query, keys)}
    return deleted
