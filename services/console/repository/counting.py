"""Counts that stop: a page never counts a table to its end."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

CAP = 10_000


def count_up_to(session: Session, rows: Select[Any], cap: int = CAP) -> int:
    """Return how many rows there are, or `cap` + 1 if there are more."""
    bounded = rows.limit(cap + 1).subquery()
    return int(session.scalar(select(func.count()).select_from(bounded)) or 0)
