"""The state of the loop: its health, its requests, how much is new, and what the detectors showed last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from services.curator.monitor.domain.detectors import LoopHealth
from services.curator.monitor.domain.volume import Basis, Volume
from services.curator.requests.domain import ATTEMPTS
from services.curator.requests.repository import Champion
from services.curator.weighing.repository import STANDING
from shared.tables.curator import (
    UNPLACED,
    Dataset,
    Feedback,
    Interaction,
    Label,
    Pair,
    Prompt,
    RetrainRequestRow,
)
from shared.tables.drift import DetectorState
from shared.tables.erasures import DatasetItem
from shared.tables.quarantine import QuarantineDecision
from shared.tables.trainer import Run

VOTING_TYPES = ("thumb", "rating")
LAST_ASKED = text(
    """
    SELECT reason->>'kind', max(requested_at)
    FROM curator.retrain_requests, jsonb_array_elements(reasons) AS reason GROUP BY 1
    """
)
MAY_BE_TRAINED_ON = ("train", "validation", UNPLACED)


@dataclass(frozen=True)
class RequestHistory:
    is_open: bool
    last_requested_at: datetime | None
    last_closed_at: datetime | None
    last_asked_at: dict[str, datetime]
    """By kind of reason: the last request that it had a part in."""
    this_month: int
    """Trainings asked for: one for each recipe of a request."""


def _is_served_by(champion: Champion) -> ColumnElement[bool]:
    return (Interaction.model_version == champion.version) & (Interaction.served_at >= champion.since)


def measure_response_rate(session: Session, champion: Champion, since: datetime) -> float | None:
    """Measure the share of the champion's answers served since then that have a thumb or a rating."""
    voted = (
        select(Feedback.event_id)
        .where(Feedback.interaction_id == Interaction.interaction_id, Feedback.type.in_(VOTING_TYPES))
        .exists()
    )
    served, answered = session.execute(
        select(func.count(), func.count().filter(voted)).where(
            _is_served_by(champion), Interaction.served_at >= since, Interaction.error.is_(None)
        )
    ).one()
    return answered / served if served else None


def load_baseline(session: Session) -> str | None:
    """Load the hash of the newest dataset of a request that is open, that led to a model, or that may not be repeated.

    A failed training taught nothing, so what it was asked for stays new, until it failed too often.
    """
    asked = aliased(RetrainRequestRow)
    trained = exists().where(Run.request_id == RetrainRequestRow.request_id, Run.state == "succeeded")
    same = asked.dataset_sha256 == RetrainRequestRow.dataset_sha256
    times = select(func.count()).where(same).correlate(RetrainRequestRow).scalar_subquery()
    return session.scalar(
        select(Dataset.dataset_sha256)
        .join(RetrainRequestRow, RetrainRequestRow.dataset_sha256 == Dataset.dataset_sha256)
        .where(or_(RetrainRequestRow.state == "open", trained, times >= ATTEMPTS))
        .order_by(RetrainRequestRow.requested_at.desc())
        .limit(1)
    )


def load_basis(session: Session, parent_version: str | None) -> Basis:
    last_decision = session.scalar(select(func.max(QuarantineDecision.decision_id)))
    return Basis(load_baseline(session), parent_version, last_decision or 0)


def measure_stored(session: Session, baseline: str | None) -> Volume:
    """Measure everything stored that may be trained on: no dataset holds more."""
    pairs, new_pairs = session.execute(
        _of_training(Pair).where(STANDING).with_only_columns(func.count(), _count_new(Pair.pair_id, baseline))
    ).one()
    new_labels = session.scalar(_of_training(Label).with_only_columns(_count_new(Label.label_id, baseline)))
    return Volume(pairs, new_pairs, new_labels or 0, exact=False)


def count_stored_since(session: Session, sequence: int) -> tuple[int, int]:
    """Count (pairs, labels) that were stored, or whose state changed, after this one, and that may be trained on."""
    pairs, labels = (
        session.scalar(_of_training(table).where(table.sequence > sequence).with_only_columns(func.count())) or 0
        for table in (Pair, Label)
    )
    return pairs, labels


def load_held(session: Session, baseline: str | None) -> frozenset[str]:
    """Load the ids of what the baseline holds."""
    return frozenset(session.scalars(select(DatasetItem.item_id).where(DatasetItem.dataset_sha256 == baseline)))


def _of_training(table: type[Pair] | type[Label]) -> Select[Any]:
    return (
        select(table).join(Prompt, Prompt.prompt_hash == table.prompt_hash).where(Prompt.split.in_(MAY_BE_TRAINED_ON))
    )


def _count_new(item: Any, baseline: str | None) -> ColumnElement[int]:
    held = exists().where(DatasetItem.dataset_sha256 == baseline, DatasetItem.item_id == item)
    return func.count().filter(~held)


def load_request_history(session: Session, month_ago: datetime) -> RequestHistory:
    requested_at = RetrainRequestRow.requested_at
    runs = func.coalesce(func.jsonb_array_length(RetrainRequestRow.recipes), 1)
    row = session.execute(
        select(
            func.count().filter(RetrainRequestRow.state == "open"),
            func.max(requested_at),
            func.max(RetrainRequestRow.closed_at),
            func.coalesce(func.sum(runs).filter(requested_at > month_ago), 0),
        )
    ).one()
    asked = {kind: at for kind, at in session.execute(LAST_ASKED)}  # noqa: C416
    return RequestHistory(row[0] > 0, row[1], row[2], asked, row[3])


def measure_health(session: Session, now: datetime, window: timedelta) -> LoopHealth:
    since = now - window
    answers = session.scalar(select(func.count()).where(Interaction.served_at >= since, Interaction.error.is_(None)))
    feedback = session.execute(
        select(Feedback.type, func.count()).where(Feedback.received_at >= since).group_by(Feedback.type)
    )
    parked, oldest = session.execute(
        select(func.count(), func.min(Feedback.received_at)).where(Feedback.state == "parked")
    ).one()
    newest = session.scalar(select(func.max(Feedback.received_at)))
    return LoopHealth(
        answers or 0,
        dict(feedback.all()),
        parked,
        (now - oldest).total_seconds() if oldest else None,
        (now - newest).total_seconds() if newest else None,
    )


def save_detector(session: Session, name: str, state: dict[str, object], now: datetime) -> None:
    row = insert(DetectorState).values(name=name, state=state, updated_at=now)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["name"], set_={"state": row.excluded.state, "updated_at": row.excluded.updated_at}
        )
    )


def list_detectors(session: Session) -> Sequence[DetectorState]:
    return session.scalars(select(DetectorState).order_by(DetectorState.name)).all()
