"""Retrain requests, the routing table and the loop's switch."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.tables import deployer, trainer
from shared.tables.curator import LoopSwitch, RetrainRequestRow, RoutingRow


def load_open_request(session: Session) -> RetrainRequestRow | None:
    return session.scalars(select(RetrainRequestRow).where(RetrainRequestRow.state == "open").with_for_update()).first()


def load_request(session: Session, request_id: UUID) -> RetrainRequestRow | None:
    return session.get(RetrainRequestRow, request_id, with_for_update=True)


def list_requests(session: Session, limit: int) -> Sequence[RetrainRequestRow]:
    """Newest first."""
    query = select(RetrainRequestRow).order_by(RetrainRequestRow.requested_at.desc()).limit(limit)
    return session.scalars(query).all()


def has_run(session: Session, request_id: UUID) -> bool:
    return bool(session.scalar(select(exists().where(trainer.Run.request_id == request_id))))


def has_rollout(session: Session, request_id: UUID) -> bool:
    return bool(session.scalar(select(exists().where(deployer.Rollout.request_id == request_id))))


def load_routing_for_update(session: Session, family: str) -> RoutingRow | None:
    return session.get(RoutingRow, family, with_for_update=True)


def insert_routing(session: Session, family: str, values: dict[str, Any]) -> None:
    session.execute(insert(RoutingRow).values(family=family, **values).on_conflict_do_nothing())


def is_paused(session: Session) -> bool:
    return bool(session.scalar(select(LoopSwitch.paused)))


def save_switch(session: Session, *, paused: bool, actor: str, now: datetime) -> None:
    values = {"paused": paused, "actor": actor, "at": now}
    statement = insert(LoopSwitch).values(id=1, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
