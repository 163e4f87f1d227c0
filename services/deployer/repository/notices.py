"""Notices to webhooks: each stored once for each target, claimed for a while by whoever delivers it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.tables.deployer import Notice

WAITING: ColumnElement[bool] = and_(Notice.delivered_at.is_(None), Notice.given_up_at.is_(None))


def save_notice(session: Session, notice: Notice) -> None:
    """Store a notice, unless its decision has one for this target."""
    columns = (column.key for column in Notice.__table__.columns)
    values = {name: getattr(notice, name) for name in columns if getattr(notice, name) is not None}
    session.execute(insert(Notice).values(values).on_conflict_do_nothing(index_elements=["key", "target"]))


def claim_notices(session: Session, now: datetime, *, limit: int, lease: timedelta) -> Sequence[Notice]:
    """Return what is due, oldest first, and keep it from others for the lease; counts the attempt."""
    due = select(Notice).where(WAITING, Notice.next_attempt_at <= now).order_by(Notice.next_attempt_at)
    found = session.scalars(due.limit(limit).with_for_update(skip_locked=True)).all()
    for notice in found:
        notice.attempts += 1
        notice.next_attempt_at = now + lease
    return found


def load_notice(session: Session, notice_id: UUID) -> Notice | None:
    return session.get(Notice, notice_id, with_for_update=True)


def list_notices(session: Session, limit: int) -> Sequence[Notice]:
    """Return the newest notices."""
    newest = select(Notice).order_by(Notice.created_at.desc(), Notice.notice_id.desc())
    return session.scalars(newest.limit(limit)).all()


def find_oldest_waiting(session: Session) -> datetime | None:
    return session.scalar(select(func.min(Notice.created_at)).where(WAITING))


def delete_notices(session: Session, before: datetime) -> None:
    """Delete what was delivered, or given up, and is older than that."""
    session.execute(delete(Notice).where(~WAITING, Notice.created_at < before))
