"""SQL of imports: what each brought, and which were taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.erasure.repository import UserData, complete_data, select_column
from services.curator.evidence.repository.intake import connection_of
from shared.events import IMPORT_KEY_ID
from shared.ids import new_id
from shared.tables.erasures import ImportWithdrawal

NAMED = f"key_id = '{IMPORT_KEY_ID}' AND event #>> '{{metadata,imported,source}}' = %s"
CONFLICTING = f"event->>'key_id' = '{IMPORT_KEY_ID}' AND event #>> '{{metadata,imported,source}}' = %s"


@dataclass(frozen=True)
class ImportCounts:
    name: str
    answers: int
    feedback: int


def count_imports(session: Session) -> list[ImportCounts]:
    """Count what each import brought that is stored, by name."""
    name = "event #>> '{metadata,imported,source}'"
    query = f"""
        SELECT name, sum(answers), sum(feedback) FROM (
            SELECT {name} AS name, count(*) AS answers, 0 AS feedback FROM curator.interactions
            WHERE key_id = '{IMPORT_KEY_ID}' GROUP BY 1
            UNION ALL SELECT {name}, 0, count(*) FROM curator.feedback WHERE key_id = '{IMPORT_KEY_ID}' GROUP BY 1
        ) AS counts WHERE name IS NOT NULL GROUP BY name ORDER BY name
    """
    rows = connection_of(session).execute(query.encode()).fetchall()
    return [ImportCounts(str(found), int(answers), int(feedback)) for found, answers, feedback in rows]


def find_import_data(session: Session, name: str) -> UserData:
    """Find all that an import brought, also conflicting bodies, and what rests on it or speaks of it."""
    interactions = select_column(session, f"SELECT interaction_id FROM curator.interactions WHERE {NAMED}", name)
    events = select_column(session, f"SELECT event_id FROM curator.feedback WHERE {NAMED}", name)
    kept_aside = f"SELECT event_id FROM curator.conflicting_events WHERE {CONFLICTING} AND "
    interactions |= select_column(session, kept_aside + "event ? 'messages'", name)
    events |= select_column(session, kept_aside + "event ? 'feedback'", name)
    return complete_data(session, interactions, events)


def knows_import(session: Session, name: str) -> bool:
    """Say whether anything is stored that an import of this name brought."""
    tables = ("curator.interactions", "curator.feedback")
    return any(select_column(session, f"SELECT 1 FROM {table} WHERE {NAMED} LIMIT 1", name) for table in tables)


def load_or_create_withdrawal(session: Session, name: str, requested_by: str, now: datetime) -> ImportWithdrawal:
    """Load the withdrawal of an import; insert it if there is none."""
    values = {
        "withdrawal_id": new_id(),
        "name": name,
        "state": "running",
        "requested_by": requested_by,
        "requested_at": now,
    }
    session.execute(insert(ImportWithdrawal).values(values).on_conflict_do_nothing(index_elements=["name"]))
    return session.scalars(select(ImportWithdrawal).where(ImportWithdrawal.name == name)).one()


def load_withdrawal(session: Session, withdrawal_id: UUID) -> ImportWithdrawal:
    """Load a withdrawal and lock it."""
    return session.get_one(ImportWithdrawal, withdrawal_id, with_for_update=True)


def list_withdrawals(session: Session) -> Sequence[ImportWithdrawal]:
    """List them, newest first."""
    return session.scalars(select(ImportWithdrawal).order_by(ImportWithdrawal.requested_at.desc())).all()
