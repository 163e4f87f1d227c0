"""What a batch of evidence reads and writes: one statement for all of it each, on the session's own connection."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from sqlalchemy.orm import Session

from services.curator.domain.arrivals import ArrivedFeedback, ArrivedInteraction
from services.curator.domain.standing import attribute, list_interactions
from shared.db import ConcurrentChange
from shared.events import FeedbackReceived, InteractionRecorded, effective_time, scope_id

_encoder = msgspec.json.Encoder()

EVIDENCE = "curator:evidence"
"""Held shared by every transaction that stores evidence: see `shared.db.wait_for_holders`."""

INTERACTION_COLUMNS = (
    "interaction_id",
    "key_id",
    "prompt_hash",
    "answer",
    "model_version",
    "served_at",
    "user",
    "conversation_id",
    "error",
    "content_hash",
    "event",
    "redacted",
)
FEEDBACK_COLUMNS = (
    "event_id",
    "key_id",
    "interaction_id",
    "other_interaction_id",
    "type",
    "user",
    "happened_at",
    "received_at",
    "content_hash",
    "state",
    "event",
    "redacted",
)


def connection_of(session: Session) -> psycopg.Connection[tuple[Any, ...]]:
    """The psycopg connection under the session's transaction: COPY and arrays cost a tenth of the ORM."""
    return cast("psycopg.Connection[tuple[Any, ...]]", session.connection().connection.driver_connection)


def copy_rows(session: Session, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """COPY rows into a table of the schema.

    Raises:
        ConcurrentChange: one of them is there by now.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY curator.{} ({}) FROM STDIN").format(sql.Identifier(table), names)
    try:
        with connection_of(session).cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.errors.UniqueViolation as error:
        raise ConcurrentChange(f"rows of {table} were written meanwhile") from error


def fetch(session: Session, query: str, keys: Collection[UUID] | Collection[str]) -> list[tuple[Any, ...]]:
    """Rows of a query over keys (ids or hashes), which it names as `%s`, an array."""
    return connection_of(session).execute(cast("Any", query), (array_of(keys),)).fetchall()


def array_of(keys: Collection[UUID] | Collection[str]) -> str:
    """An array literal of ids or hashes, which need no quoting: psycopg's own takes 3 µs for each."""
    return "{" + ",".join(map(str, keys)) + "}"


def load_interaction_hashes(session: Session, keys: Collection[UUID]) -> dict[UUID, str]:
    """Content hash of each of these that is stored."""
    rows = fetch(
        session,
        "SELECT interaction_id, content_hash FROM curator.interactions WHERE interaction_id = ANY(%s)",
        keys,
    )
    return dict(cast("list[tuple[UUID, str]]", rows))


@dataclass(frozen=True, slots=True)
class StandingFeedback:
    content_hash: str
    received_at: datetime
    key_id: str


def load_feedback_standing(session: Session, keys: Collection[UUID]) -> dict[UUID, StandingFeedback]:
    """What stands under each of these ids."""
    rows = fetch(
        session,
        "SELECT event_id, content_hash, received_at, key_id FROM curator.feedback WHERE event_id = ANY(%s)",
        keys,
    )
    return {key: StandingFeedback(*row) for key, *row in rows}


def move_feedback(session: Session, given_up: Mapping[UUID, str]) -> set[str]:
    """Give the feedback of these (id: key id) the ids that are its key's alone; the prompt groups it belongs to."""
    rows: list[tuple[Any, ...]] = []
    for event_id, key_id in sorted(given_up.items()):
        rows += connection_of(session).execute(
            "UPDATE curator.feedback SET event_id = %s WHERE event_id = %s AND key_id = %s RETURNING interaction_id",
            (scope_id(event_id, key_id), event_id, key_id),
        )
    return set(load_prompts_of(session, {interaction_id for (interaction_id,) in rows}).values())


def load_prompts_of(session: Session, keys: Collection[UUID]) -> dict[UUID, str]:
    """The prompt hash of each interaction that is known."""
    rows = fetch(
        session,
        "SELECT interaction_id, prompt_hash FROM curator.interactions WHERE interaction_id = ANY(%s)",
        keys,
    )
    return dict(cast("list[tuple[UUID, str]]", rows))


def list_missing_prompts(session: Session, prompt_hashes: Collection[str]) -> set[str]:
    rows = fetch(session, "SELECT prompt_hash FROM curator.prompts WHERE prompt_hash = ANY(%s)", list(prompt_hashes))
    return set(prompt_hashes) - {prompt_hash for (prompt_hash,) in rows}


def insert_prompts(session: Session, prompts: Sequence[tuple[str, list[dict[str, Any]], str, str]]) -> None:
    """Store (prompt hash, messages, cell, split) and the cells, where they are new; in order, so nobody deadlocks."""
    cells = sorted({(cell, split) for _, _, cell, split in prompts})
    connection = connection_of(session)
    connection.execute(
        "INSERT INTO curator.cells (cell, split) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING",
        ([cell for cell, _ in cells], [split for _, split in cells]),
    )
    connection.execute(
        """
        INSERT INTO curator.prompts (prompt_hash, messages, cell, split)
        SELECT item->>0, item->1, item->>2, item->>3 FROM jsonb_array_elements(%s::jsonb) AS item
        ON CONFLICT DO NOTHING
        """,
        (_encoder.encode(sorted(prompts, key=lambda prompt: prompt[0])).decode(),),
    )


def copy_interactions(session: Session, arrived: Sequence[ArrivedInteraction]) -> None:
    copy_rows(session, "interactions", INTERACTION_COLUMNS, map(_interaction_row, arrived))


def replace_interactions(session: Session, arrived: Sequence[ArrivedInteraction]) -> None:
    _update(session, "interactions", INTERACTION_COLUMNS, [_interaction_row(item) for item in arrived])


def copy_feedback(session: Session, arrived: Sequence[tuple[ArrivedFeedback, str]]) -> None:
    copy_rows(session, "feedback", FEEDBACK_COLUMNS, (_feedback_row(item, state) for item, state in arrived))


def replace_feedback(session: Session, arrived: Sequence[tuple[ArrivedFeedback, str]]) -> None:
    _update(session, "feedback", FEEDBACK_COLUMNS, [_feedback_row(item, state) for item, state in arrived])


def _update(session: Session, table: str, columns: Sequence[str], rows: list[tuple[object, ...]]) -> None:
    """Overwrite rows by their first column."""
    key, *others = columns
    statement = sql.SQL("UPDATE curator.{} SET {} WHERE {} = %s").format(
        sql.Identifier(table),
        sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in others),
        sql.Identifier(key),
    )
    with connection_of(session).cursor() as cursor:
        cursor.executemany(statement, [(*row[1:], row[0]) for row in rows])


def mark_attached(session: Session, keys: Collection[UUID]) -> None:
    connection_of(session).execute(
        "UPDATE curator.feedback SET state = 'attached' WHERE event_id = ANY(%s)", (array_of(keys),)
    )


def load_waiting(session: Session, keys: Collection[UUID]) -> list[tuple[UUID, UUID, UUID | None, str]]:
    """(event id, interaction, other interaction, state) of the feedback that speaks of one of these interactions.

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
    """(id, content hash, prompt hash, whole event) of stored interactions."""
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
    """(id, content hash, interaction, whole event) of stored feedback."""
    query = "SELECT event_id, content_hash, interaction_id, event FROM curator.feedback WHERE event_id = ANY(%s)"
    return cast("list[tuple[UUID, str, UUID, dict[str, Any]]]", fetch(session, query, keys))


def keep_aside(session: Session, bodies: Sequence[tuple[UUID, str, object]]) -> None:
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


def save_receptions(session: Session, earlier: Sequence[ArrivedFeedback]) -> None:
    """Feedback turned out to have been received earlier; without the client's word it also happened then."""
    _update(
        session,
        "feedback",
        ("event_id", "happened_at", "received_at", "event"),
        [
            (item.key, effective_time(item.event), item.event.received_at, _encoder.encode(item.event).decode())
            for item in earlier
        ],
    )


def _interaction_row(item: ArrivedInteraction) -> tuple[object, ...]:
    event = item.event
    return (
        event.interaction_id,
        event.key_id,
        item.prompt_hash,
        event.answer,
        event.model_version,
        event.served_at,
        event.user,
        event.conversation_id,
        event.error,
        item.content_hash,
        encode_without_text(event),
        item.redacted,
    )


def encode_without_text(event: InteractionRecorded) -> str:
    """The event as JSON, less what stands in columns of its own."""
    content: dict[str, Any] = msgspec.to_builtins(event)
    del content["messages"], content["answer"]
    return _encoder.encode(content).decode()


def _feedback_row(item: ArrivedFeedback, state: str) -> tuple[object, ...]:
    event = item.event
    return (
        item.key,
        event.key_id,
        event.interaction_id,
        next(iter(list_interactions(event)[1:]), None),
        event.feedback.__struct_config__.tag,
        event.user,
        effective_time(event),
        event.received_at,
        item.content_hash,
        state,
        _encoder.encode(event).decode(),
        item.redacted,
    )


def load_events(session: Session, prompt_hashes: Collection[str]) -> list[FeedbackReceived]:
    """The feedback whose own interaction is in one of these groups, and which waits for nothing, as evidence, by id."""
    rows = fetch(
        session,
        """
        SELECT feedback.event::text, event_id, interactions."user"
        FROM curator.feedback JOIN curator.interactions USING (interaction_id)
        WHERE prompt_hash = ANY(%s) AND state = 'attached' ORDER BY event_id
        """,
        prompt_hashes,
    )
    return [attribute(_decoder.decode(text), event_id, owner) for text, event_id, owner in rows]


_decoder: msgspec.json.Decoder[FeedbackReceived] = msgspec.json.Decoder(FeedbackReceived)
