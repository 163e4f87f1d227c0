"""Generations of the routing table, and what the curator has heard of them."""

from datetime import datetime

import msgspec
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from shared.events import Route, RoutingTable
from shared.tables.curator import RoutingRow
from shared.tables.deployer import Outbox, RoutingEpoch, RoutingGeneration


def load_routing_row(session: Session, family: str) -> RoutingGeneration | None:
    """Return the newest generation of the table."""
    return session.scalars(
        select(RoutingGeneration)
        .where(RoutingGeneration.family == family)
        .order_by(RoutingGeneration.generation.desc())
        .limit(1)
    ).first()


def load_routing(session: Session, family: str) -> RoutingTable | None:
    """Return the table in force."""
    row = load_routing_row(session, family)
    return msgspec.convert(row.table, RoutingTable) if row else None


def load_acknowledged_generation(session: Session, family: str) -> int:
    """Return the newest generation that the curator has heard of; 0 for none."""
    return session.scalar(select(RoutingRow.generation).where(RoutingRow.family == family)) or 0


def is_announcing(session: Session) -> bool:
    """Tell whether announcements still wait for the bus."""
    return session.scalar(select(exists().where(Outbox.sequence.is_not(None)))) or False


def save_routing(session: Session, table: RoutingTable) -> None:
    """Add a generation; the primary key refuses a second one of the same number."""
    session.add(RoutingGeneration(family=table.family, generation=table.generation, table=msgspec.to_builtins(table)))
    session.flush()


def load_epoch(session: Session) -> int:
    """Return the epoch that tables belong to now."""
    return session.scalar(select(func.max(RoutingEpoch.epoch))) or 0


def load_epoch_start(session: Session) -> datetime | None:
    """Return when the newest epoch began: when a backup was last restored."""
    return session.scalar(select(func.max(RoutingEpoch.began_at)))


def load_route(session: Session, family: str, version: str) -> Route | None:
    """Return how a version was last routed as champion."""
    row = session.scalars(
        select(RoutingGeneration)
        .where(
            RoutingGeneration.family == family,
            RoutingGeneration.table["champion"]["version"].astext == version,
        )
        .order_by(RoutingGeneration.generation.desc())
        .limit(1)
    ).first()
    return msgspec.convert(row.table, RoutingTable).champion if row else None
