"""The audit log: appended to under a lock, read in parts. The table refuses every change of what it holds."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.deployer.domain.audit import GENESIS, Anchor, Entry, calculate_entry_hash, calculate_seal
from shared.db import lock_all
from shared.tables.deployer import AuditEntry

ROWS_AT_ONCE = 1_000


def append_audit(
    session: Session, at: datetime, *, actor: str, action: str, subject: str, detail: dict[str, Any], key: str
) -> int:
    """Add an entry to the chain, sealed if there is a key; returns its number. The lock keeps the chain a chain."""
    lock_all(session, ["deployer:audit"])
    last = load_audit_end(session)
    sequence = last.sequence + 1
    entry_hash = calculate_entry_hash(sequence, at, actor, action, subject, detail, last.hash)
    session.add(
        AuditEntry(
            sequence=sequence,
            at=at,
            actor=actor,
            action=action,
            subject=subject,
            detail=detail,
            previous_hash=last.hash,
            hash=entry_hash,
            seal=calculate_seal(key, entry_hash) if key else None,
        )
    )
    session.flush()
    return sequence


def load_audit_end(session: Session) -> Anchor:
    """Return the last entry's number and hash."""
    row = session.execute(
        select(AuditEntry.sequence, AuditEntry.hash).order_by(AuditEntry.sequence.desc()).limit(1)
    ).first()
    return Anchor(*row) if row else Anchor(0, GENESIS)


def load_audit_page(session: Session, *, before: int | None, limit: int) -> tuple[list[Entry], Anchor | None]:
    """Return the newest `limit` entries with a smaller number than `before`, oldest first, and the one before them."""
    query = select(AuditEntry).order_by(AuditEntry.sequence.desc()).limit(limit + 1)
    rows = session.scalars(query if before is None else query.where(AuditEntry.sequence < before)).all()
    entries = [_read(row) for row in reversed(rows)]
    if len(entries) <= limit:
        return entries, None
    return entries[1:], Anchor(entries[0].sequence, entries[0].hash)


def iterate_audit(session: Session) -> Iterator[Entry]:
    """Yield the whole log, oldest first, a thousand rows in memory at a time."""
    query = select(AuditEntry).order_by(AuditEntry.sequence).execution_options(yield_per=ROWS_AT_ONCE)
    for row in session.scalars(query):
        yield _read(row)
        session.expunge(row)


def _read(row: AuditEntry) -> Entry:
    return Entry(
        row.sequence, row.at, row.actor, row.action, row.subject, row.detail, row.previous_hash, row.hash, row.seal
    )
