"""SQL of the drift monitor. It reads the other services' schemas and writes `detectors` only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.monitor.domain.detectors import LoopHealth
from services.curator.monitor.domain.drift import ChampionVote
from services.curator.requests.repository import Champion
from shared.feedback import derive_rating_polarity
from shared.tables.curator import Dataset, DetectorState, Feedback, Interaction, Label, Pair, Prompt, RetrainRequestRow
from shared.tables.erasures import DatasetItem
from shared.tables.trainer import Run

FIRST_VOTES = 5_000
LATEST_VOTES = 50_000
VOTING_TYPES = ("thumb", "rating")
TRAINED_ON = ("train", "validation")


@dataclass(frozen=True)
class Baseline:
    """The dataset against which pairs and labels are new."""

    dataset_sha256: str
    through_sequence: int


@dataclass(frozen=True)
class RequestHistory:
    is_open: bool
    last_requested_at: datetime | None
    last_closed_at: datetime | None
    last_opinion_at: datetime | None
    """Last request that an opinion alarm had a part in."""
    this_month: int


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


def load_baseline(session: Session) -> Baseline | None:
    """Load the newest dataset of a request that is open, or whose training run succeeded.

    A failed training taught nothing, so what it was asked for stays new.
    """
    trained = exists().where(Run.request_id == RetrainRequestRow.request_id, Run.state == "succeeded")
    row = session.execute(
        select(Dataset.dataset_sha256, Dataset.through_sequence)
        .join(RetrainRequestRow, RetrainRequestRow.dataset_sha256 == Dataset.dataset_sha256)
        .where(or_(RetrainRequestRow.state == "open", trained))
        .order_by(RetrainRequestRow.requested_at.desc())
        .limit(1)
    ).first()
    return Baseline(*row) if row else None


def count_pairs(session: Session, baseline: Baseline | None) -> tuple[int, int]:
    """Count (active pairs that may be trained on, those of them that are new)."""
    total, new = session.execute(
        select(func.count(), func.count().filter(_is_new(Pair.pair_id, Pair.sequence, baseline)))
        .select_from(Pair)
        .join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
        .where(Pair.state == "active", Prompt.split.in_(TRAINED_ON))
    ).one()
    return total, new


def count_labels(session: Session, baseline: Baseline | None) -> int:
    """Count the new labels that may be trained on."""
    query = (
        select(func.count())
        .select_from(Label)
        .join(Prompt, Prompt.prompt_hash == Label.prompt_hash)
        .where(Prompt.split.in_(TRAINED_ON), _is_new(Label.label_id, Label.sequence, baseline))
    )
    return session.scalar(query) or 0


def _is_new(item: Any, sequence: Any, baseline: Baseline | None) -> ColumnElement[bool]:
    """What the baseline could not see when it was frozen, and does not hold: so what caps left out is not new, and what
    was stamped before the freeze but committed after it is."""
    if baseline is None:
        return true()
    held = exists().where(DatasetItem.dataset_sha256 == baseline.dataset_sha256, DatasetItem.item_id == item)
    return and_(sequence > baseline.through_sequence, ~held)


def load_request_history(session: Session, month_ago: datetime) -> RequestHistory:
    requested_at, opinion = RetrainRequestRow.requested_at, RetrainRequestRow.reasons.contains([{"kind": "opinion"}])
    row = session.execute(
        select(
            func.count().filter(RetrainRequestRow.state == "open"),
            func.max(requested_at),
            func.max(RetrainRequestRow.closed_at),
            func.max(requested_at).filter(opinion),
            func.count().filter(requested_at > month_ago),
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
