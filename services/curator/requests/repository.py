"""Requests to retrain and how far they have come, the champion, and the switch that pauses the loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.requests.domain import EarlierRequest, RequestProgress
from shared.tables import deployer, trainer
from shared.tables.curator import LoopSwitch, RetrainRequestRow, RoutingRow
from shared.tables.deployer import Rollout, RoutingGeneration
from shared.tables.evaluator import Evaluation
from shared.tables.trainer import Run


def load_open_request(session: Session) -> RetrainRequestRow | None:
    return session.scalars(select(RetrainRequestRow).where(RetrainRequestRow.state == "open").with_for_update()).first()


def load_request(session: Session, request_id: UUID) -> RetrainRequestRow | None:
    return session.get(RetrainRequestRow, request_id, with_for_update=True)


def list_requests(session: Session, limit: int) -> Sequence[RetrainRequestRow]:
    """List the newest first."""
    query = select(RetrainRequestRow).order_by(RetrainRequestRow.requested_at.desc()).limit(limit)
    return session.scalars(query).all()


def list_earlier(session: Session, dataset_sha256: str) -> list[EarlierRequest]:
    """List the requests that were made for a dataset, oldest first."""
    trained = exists().where(Run.request_id == RetrainRequestRow.request_id, Run.state == "succeeded")
    query = select(RetrainRequestRow.request_id, trained).where(RetrainRequestRow.dataset_sha256 == dataset_sha256)
    rows = session.execute(query.order_by(RetrainRequestRow.requested_at, RetrainRequestRow.request_id))
    return [EarlierRequest(request_id, bool(succeeded)) for request_id, succeeded in rows]


def list_states_of_runs(session: Session, request_id: UUID) -> list[str]:
    """List the states of the request's runs."""
    return list(session.scalars(select(Run.state).where(Run.request_id == request_id)))


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


@dataclass(frozen=True)
class Champion:
    version: str
    since: datetime


def load_champion(session: Session, family: str) -> Champion | None:
    """Load the champion of the newest routing table that was consumed, else of the deployer's newest."""
    heard = session.get(RoutingRow, family)
    if heard is not None:
        return Champion(heard.champion_version, heard.champion_since)
    of_family = RoutingGeneration.family == family
    version_of = RoutingGeneration.table["champion"]["version"].astext
    newest = session.scalar(select(version_of).where(of_family).order_by(RoutingGeneration.generation.desc()).limit(1))
    if newest is None:
        return None
    last_other = (
        select(func.coalesce(func.max(RoutingGeneration.generation), -1))
        .where(of_family, version_of != newest)
        .scalar_subquery()
    )
    since = session.scalar(
        select(func.min(RoutingGeneration.created_at)).where(of_family, RoutingGeneration.generation > last_other)
    )
    assert since is not None
    return Champion(newest, since)


def load_open_request_progress(session: Session) -> tuple[UUID, RequestProgress] | None:
    """Load (id of the open request, how far it has come)."""
    request_id = RetrainRequestRow.request_id
    row = session.execute(
        select(
            request_id,
            Evaluation.verdict,
            Rollout.state,
            func.coalesce(Rollout.candidate_version, Evaluation.candidate_version),
        )
        .outerjoin(Evaluation, Evaluation.request_id == request_id)
        .outerjoin(Rollout, Rollout.request_id == request_id)
        .where(RetrainRequestRow.state == "open")
    ).first()
    return (row[0], RequestProgress(list_states_of_runs(session, row[0]), row[1], row[2], row[3])) if row else None
