"""The audit log: a chain of hashes, appended to under a lock."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.deployer.domain.approval import GENESIS, Entry, calculate_entry_hash
from shared.db import lock_all
from shared.tables.deployer import AuditEntry


def append_audit(
    session: Session, at: datetime, *, actor: str, action: str, subject: str, detail: dict[str, Any]
) -> None:
    """Add a line to the hash-chained log; the lock keeps the chain a chain."""
    lock_all(session, ["deployer:audit"])
    last = session.scalars(select(AuditEntry).order_by(AuditEntry.sequence.desc()).limit(1)).first()
    sequence, previous = (last.sequence + 1, last.hash) if last else (1, GENESIS)
    digest = calculate_entry_hash(sequence, at, actor, action, subject, detail, previous)
    session.add(
        AuditEntry(
            sequence=sequence,
            at=at,
            actor=actor,
            action=action,
            subject=subject,
            detail=detail,
            previous_hash=previous,
            hash=digest,
        )
    )
    session.flush()


def load_audit(session: Session) -> list[Entry]:
    """Return the whole log, oldest first."""
    return [
        Entry(row.sequence, row.at, row.actor, row.action, row.subject, row.detail, row.previous_hash, row.hash)
        for row in session.scalars(select(AuditEntry).order_by(AuditEntry.sequence))
    ]
