"""SQL of the drift monitor. It reads the other services' schemas and writes `detectors` only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from services.curator.monitor.domain.detectors import LoopHealth
from services.curator.monitor.domain.drift import ChampionVote
from services.curator.monitor.domain.volume import Basis, Volume
from services.curator.requests.domain import ATTEMPTS
from services.curator.requests.repository import Champion
from services.curator.weighing.repository import STANDING
from shared.feedback import derive_rating_polarity
from shared.tables.curator import (
    UNPLACED,
    Dataset,
    DetectorState,
    Feedback,
    Interaction,
    Label,
    Pair,
    Prompt,
    RetrainRequestRow,
)
from shared.tables.erasures import DatasetItem
from shared.tables.quarantine import QuarantineDecision
from shared.tables.trainer import Run

FIRST_VOTES = 5_000
LATEST_VOTES = 50_000
VOTING_TYPES = ("thumb", "rating")
MAY_BE_TRAINED_ON = ("train", "validation", UNPLACED)


@dataclass(frozen=True)
class RequestHistory:
    is_open: bool
    last_requested_at: datetime | None
    last_closed_at: datetime | None
    last_opinion_at: datetime | None
    """Last request that an opinion alarm had a part in."""
    this_month: int
    """Trainings asked for: one for each recipe of a request."""


def load_votes(session: Session, champion: Champion) -> list[ChampionVote]:
    """Load the votes on the champion's answers since its promotion: the first 5,000 and the last 50,000, in order."""
    order = (Feedback.happened_at, Feedback.event_id)
    ranked = (
        _select_votes(champion)
        .add_columns(
            func.row_number().over(order_by=order).label("first"),
            func.row_number().over(order_by=[column.desc() for column in order]).label("latest"),
        )
        .subquery()
    )
    rows = session.execute(
        select(ranked.c.event_id, ranked.c.voter, ranked.c.happened_at, ranked.c.type, ranked.c.value)
        .where(or_(ranked.c.first <= FIRST_VOTES, ranked.c.latest <= LATEST_VOTES))
        .order_by(ranked.c.first)
    )
    votes = []
    for event_id, user, at, kind, value in rows:
        up = value == "up" if kind == "thumb" else derive_rating_polarity(int(value))
        if up is not None:
            votes.append(ChampionVote(event_id, user, at, up))
    return votes


def _select_votes(champion: Champion) -> Select[tuple[UUID, str | None, datetime, str, str]]:
    selected: Select[tuple[UUID, str | None, datetime, str, str]] = (
        select(
            Feedback.event_id,
            func.coalesce(Feedback.user, Interaction.user).label("voter"),
            Feedback.happened_at,
            Feedback.type,
            Feedback.event["feedback"]["value"].astext.label("value"),
        )
        .join(Interaction, Interaction.interaction_id == Feedback.interaction_id)
        .where(Feedback.type.in_(VOTING_TYPES), Feedback.state == "attached", _is_served_by(champion))
    )
    return selected


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
    requested_at, opinion = RetrainRequestRow.requested_at, RetrainRequestRow.reasons.contains([{"kind": "opinion"}])
    runs = func.coalesce(func.jsonb_array_length(RetrainRequestRow.recipes), 1)
    row = session.execute(
        select(
            func.count().filter(RetrainRequestRow.state == "open"),
            func.max(requested_at),
            func.max(RetrainRequestRow.closed_at),
            func.max(requested_at).filter(opinion),
            func.coalesce(func.sum(runs).filter(requested_at > month_ago), 0),
        )
    ).one()
    return RequestHistory(row[0] > 0, row[1], row[2], row[3], row[4])


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
