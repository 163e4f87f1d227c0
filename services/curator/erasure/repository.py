"""The register of erased users, and deleting what was theirs from the tables."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.evidence.repository.intake import array_of, connection_of, fetch
from shared.ids import new_id
from shared.tables.erasures import Erasure, Tombstone
from shared.user_stores import TABLES


@dataclass(frozen=True)
class UserData:
    """Ids of all that was a user's or speaks of it; `groups` are the prompts it was about."""

    interactions: frozenset[UUID]
    events: frozenset[UUID]
    pairs: frozenset[str]
    labels: frozenset[str]
    groups: frozenset[str]


def load_or_create_erasure(session: Session, user: str, requested_by: str, now: datetime) -> Erasure:
    """Load the user's row of the erasure ledger; insert it if there is none."""
    values = {
        "erasure_id": new_id(),
        "user": user,
        "state": "running",
        "requested_by": requested_by,
        "requested_at": now,
    }
    session.execute(insert(Erasure).values(values).on_conflict_do_nothing(index_elements=["user"]))
    return session.scalars(select(Erasure).where(Erasure.user == user)).one()


def load_erasure(session: Session, erasure_id: UUID, *, for_update: bool = False) -> Erasure | None:
    return session.get(Erasure, erasure_id, with_for_update=for_update)


def list_erasures(session: Session, limit: int) -> Sequence[Erasure]:
    """List the newest first."""
    return session.scalars(select(Erasure).order_by(Erasure.requested_at.desc()).limit(limit)).all()


def list_running(session: Session) -> list[UUID]:
    return list(session.scalars(select(Erasure.erasure_id).where(Erasure.state == "running")))


def find_user_data(session: Session, user: str) -> UserData:
    """Find a user's interactions and events, also conflicting bodies; all feedback on those interactions, whoever gave
    it, since it speaks of them; and the pairs and labels that rest on any of these or have one as a side."""
    conflicting = "SELECT event_id FROM curator.conflicting_events WHERE event->>'user' = %s AND "
    interactions = select_column(session, 'SELECT interaction_id FROM curator.interactions WHERE "user" = %s', user)
    interactions |= select_column(session, conflicting + "event ? 'messages'", user)
    events = select_column(session, 'SELECT event_id FROM curator.feedback WHERE "user" = %s', user)
    events |= select_column(session, conflicting + "event ? 'feedback'", user)
    return complete_data(session, interactions, events)


def complete_data(session: Session, interactions: set[UUID], events: set[UUID]) -> UserData:
    """Find what rests on these interactions and events or speaks of them, whoever said it."""
    for column in ("interaction_id", "other_interaction_id"):
        on_them = f"SELECT event_id FROM curator.feedback WHERE {column} = ANY(%s)"
        events |= select_column(session, on_them, array_of(interactions))
    groups = select_column(
        session,
        """
        SELECT prompt_hash FROM curator.interactions WHERE interaction_id = ANY(%s) OR interaction_id IN
            (SELECT interaction_id FROM curator.feedback WHERE event_id = ANY(%s))
        """,
        array_of(interactions),
        array_of(events),
    )
    found = (array_of(groups), array_of(events), array_of(interactions))
    pairs, labels = _find_pairs(session, *found), _find_labels(session, *found)
    return UserData(*(frozenset(keys) for keys in (interactions, events, pairs, labels, groups)))


def _find_pairs(session: Session, groups: str, events: str, interactions: str) -> set[str]:
    query = """
        SELECT pair_id FROM curator.pairs WHERE prompt_hash = ANY(%s) AND
            (evidence && %s::uuid[] OR chosen_interaction_id = ANY(%s) OR rejected_interaction_id = ANY(%s))
    """
    return select_column(session, query, groups, events, interactions, interactions)


def _find_labels(session: Session, groups: str, events: str, interactions: str) -> set[str]:
    query = """
        SELECT label_id FROM curator.labels
        WHERE prompt_hash = ANY(%s) AND (evidence && %s::uuid[] OR interaction_id = ANY(%s))
    """
    return select_column(session, query, groups, events, interactions)


def select_column(session: Session, query: str, *parameters: object) -> set[Any]:
    """Load the first column of a query's rows."""
    return {row[0] for row in connection_of(session).execute(cast("Any", query), parameters)}


def delete_user_data(session: Session, found: UserData) -> None:
    """Delete the rows, and the prompts that nobody else ever asked, with their vectors; their cells go on without."""
    connection = connection_of(session)
    for table, column, keys in (
        ("pairs", "pair_id", found.pairs),
        ("labels", "label_id", found.labels),
        ("feedback", "event_id", found.events),
        ("interactions", "interaction_id", found.interactions),
        ("conflicting_events", "event_id", found.events | found.interactions),
    ):
        connection.execute(f"DELETE FROM curator.{table} WHERE {column} = ANY(%s)", (array_of(keys),))
    connection.execute(
        """
        DELETE FROM curator.prompts WHERE prompt_hash = ANY(%s) AND NOT EXISTS
            (SELECT FROM curator.interactions WHERE interactions.prompt_hash = prompts.prompt_hash)
        """,
        (array_of(found.groups),),
    )
    connection.execute(
        """
        UPDATE curator.cells
        SET anchor = (SELECT min(prompt_hash) FROM curator.prompts WHERE prompts.cell = cells.cell)
        WHERE anchor = ANY(%s)
            AND NOT EXISTS (SELECT FROM curator.prompts WHERE prompts.prompt_hash = cells.anchor)
        """,
        (array_of(found.groups),),
    )


def delete_quarantine_cases(session: Session, user: str) -> None:
    """Delete what was set aside for a user, or names them beside others, and what people decided about them."""
    for table in ("curator.quarantined", "curator.quarantine_decisions"):
        for store in (store for store in TABLES if store.table == table):
            connection_of(session).execute(cast("Any", f"DELETE FROM {table} WHERE {store.where}"), {"user": user})


def count_rows(session: Session, user: str) -> list[int]:
    """Count what is left of a user in each of `TABLES`."""
    queries = (cast("Any", f"SELECT count(*) FROM {store.table} WHERE {store.where}") for store in TABLES)
    rows = (connection_of(session).execute(query, {"user": user}).fetchone() for query in queries)
    return [row[0] if row else 0 for row in rows]


def find_frozen_items(session: Session, found: UserData) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Find what datasets hold of these: ({pair or label: its prompt}, {dataset: its pairs and labels})."""
    items = {
        str(item): str(prompt_hash)
        for item, prompt_hash in connection_of(session).execute(
            """
            SELECT item_id, prompt_hash FROM curator.frozen_items
            WHERE evidence && %s::uuid[] OR interactions && %s::uuid[]
            """,
            (array_of(found.events), array_of(found.interactions)),
        )
    }
    rows = fetch(session, "SELECT dataset_sha256, item_id FROM curator.dataset_items WHERE item_id = ANY(%s)", items)
    datasets: dict[str, list[str]] = {}
    for dataset_sha256, item in rows:
        datasets.setdefault(dataset_sha256, []).append(item)
    return items, datasets


def delete_frozen_items(session: Session, items: Collection[str]) -> None:
    for table in ("dataset_items", "frozen_items"):
        connection_of(session).execute(f"DELETE FROM curator.{table} WHERE item_id = ANY(%s)", (array_of(items),))


def count_tombstones(session: Session, cause: UUID) -> dict[str, int]:
    """Count those of one erasure or withdrawal, by kind."""
    query = select(Tombstone.kind, func.count()).where(Tombstone.erasure_id == cause).group_by(Tombstone.kind)
    return {kind: count for kind, count in session.execute(query.order_by(Tombstone.kind))}  # noqa: C416
