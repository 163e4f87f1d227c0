"""The deployer's SQL: its own schema, and what it reads of the trainer's and the curator's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from services.deployer.domain.approval import GENESIS, Entry, calculate_entry_hash
from services.deployer.domain.evidence import Arm, Counts
from services.deployer.domain.evidence import Vote as CastVote
from shared.db import lock_all
from shared.events import Route, RoutingTable
from shared.rollouts import FINAL_STATES
from shared.tables.curator import Dataset, Feedback, Pair, RetrainRequestRow, RoutingRow
from shared.tables.deployer import (
    AuditEntry,
    HeardThumb,
    Outbox,
    Rollout,
    RoutingGeneration,
    ServedInteraction,
    Vote,
)
from shared.tables.trainer import Run

CLIENTS_FAULTS = ("client_disconnected", "status_400", "status_413", "status_422")
"""Errors of answers that say nothing about the model that was to give them."""

# routing


def load_routing_row(session: Session, family: str) -> RoutingGeneration | None:
    """The newest generation of the table."""
    return session.scalars(
        select(RoutingGeneration)
        .where(RoutingGeneration.family == family)
        .order_by(RoutingGeneration.generation.desc())
        .limit(1)
    ).first()


def load_routing(session: Session, family: str) -> RoutingTable | None:
    """The table in force."""
    row = load_routing_row(session, family)
    return msgspec.convert(row.table, RoutingTable) if row else None


def load_heard_generation(session: Session, family: str) -> int:
    """The newest generation that the curator has heard of; 0 for none."""
    return session.scalar(select(RoutingRow.generation).where(RoutingRow.family == family)) or 0


def is_announcing(session: Session) -> bool:
    """Whether announcements still wait for the bus."""
    return session.scalar(select(exists().where(Outbox.sequence.is_not(None)))) or False


def save_routing(session: Session, table: RoutingTable) -> None:
    """Add a generation; the primary key refuses a second one of the same number."""
    session.add(RoutingGeneration(family=table.family, generation=table.generation, table=msgspec.to_builtins(table)))
    session.flush()


def load_route(session: Session, family: str, version: str) -> Route | None:
    """How a version was last routed as champion."""
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


def lock_rollouts(session: Session) -> None:
    """Changes of rollouts and routing happen one at a time."""
    lock_all(session, ["deployer:rollouts"])


def lock_adoption(session: Session) -> None:
    """One adoption at a time: two would register the same weights twice."""
    lock_all(session, ["deployer:adoption"])


# rollouts


def load_rollout(session: Session, rollout_id: UUID, *, for_update: bool = False) -> Rollout | None:
    """With `for_update`, held against other changes, but not against votes that point to it."""
    return session.get(Rollout, rollout_id, with_for_update={"key_share": True} if for_update else None)


def load_rollout_of_request(session: Session, request_id: UUID) -> Rollout | None:
    return session.scalars(select(Rollout).where(Rollout.request_id == request_id)).first()


def list_rollouts(session: Session, limit: int) -> Sequence[Rollout]:
    """Newest first."""
    return session.scalars(select(Rollout).order_by(Rollout.created_at.desc()).limit(limit)).all()


def list_open_rollouts(session: Session) -> Sequence[Rollout]:
    """Oldest first."""
    return session.scalars(select(Rollout).where(Rollout.state.not_in(FINAL_STATES)).order_by(Rollout.created_at)).all()


def load_latest_approved(session: Session) -> Rollout | None:
    """The rollout that last had the canary, or has it."""
    return session.scalars(
        select(Rollout).where(Rollout.approved_at.is_not(None)).order_by(Rollout.approved_at.desc()).limit(1)
    ).first()


def list_unheard_ends(session: Session, before: datetime) -> Sequence[Rollout]:
    """Rollouts that ended before then and whose retrain request the curator still holds open."""
    return session.scalars(
        select(Rollout)
        .join(RetrainRequestRow, RetrainRequestRow.request_id == Rollout.request_id)
        .where(Rollout.closed_at < before, RetrainRequestRow.state == "open")
    ).all()


def load_latest_promotion(session: Session, version: str) -> Rollout | None:
    """The rollout that made `version` champion."""
    return session.scalars(
        select(Rollout)
        .where(Rollout.state == "champion", Rollout.candidate_version == version)
        .order_by(Rollout.closed_at.desc())
        .limit(1)
    ).first()


def load_run_hashes(session: Session, run_id: UUID) -> dict[str, str]:
    """The hashes of weights, dataset and recipe of a training run; empty strings for what is unknown."""
    run = session.get(Run, run_id)
    return {
        "weights": (run and run.weights_sha256) or "",
        "dataset": (run and run.dataset_sha256) or "",
        "recipe": (run and run.recipe_sha256) or "",
    }


def find_erased_dataset(session: Session, request_id: UUID) -> str | None:
    """The dataset that the candidate of this request was trained on, if a user in it has been erased since."""
    query = select(Dataset.dataset_sha256).join(Run, Run.dataset_sha256 == Dataset.dataset_sha256)
    return session.scalar(query.where(Run.request_id == request_id, Dataset.erased_at.is_not(None)))


def load_newest_promotion(session: Session) -> Rollout | None:
    """The rollout whose candidate became champion last."""
    promoted = select(Rollout).where(Rollout.state == "champion").order_by(Rollout.closed_at.desc())
    return session.scalars(promoted.limit(1)).first()


def measure_click_ages(session: Session, request_id: UUID, until: datetime, quantiles: Sequence[float]) -> list[float]:
    """Quantiles of the seconds from a click's arrival to `until`, over the evidence of the active pairs that were new
    to the request's dataset; empty when there are none."""
    parent = aliased(Dataset)
    bounds = session.execute(
        select(Dataset.through_sequence, func.coalesce(parent.through_sequence, 0))
        .join(RetrainRequestRow, RetrainRequestRow.dataset_sha256 == Dataset.dataset_sha256)
        .outerjoin(parent, parent.dataset_sha256 == Dataset.parent_sha256)
        .where(RetrainRequestRow.request_id == request_id)
    ).first()
    if bounds is None:
        return []
    through, before = bounds
    new = select(func.unnest(Pair.evidence)).where(
        Pair.state == "active", Pair.sequence > before, Pair.sequence <= through
    )
    age = func.extract("epoch", until - Feedback.received_at)
    found = session.scalar(
        select(func.percentile_cont(list(quantiles)).within_group(age)).where(Feedback.event_id.in_(new))
    )
    return list(found or [])


# votes


def save_interaction(session: Session, **values: Any) -> None:
    session.execute(insert(ServedInteraction).values(**values).on_conflict_do_nothing())


def load_interaction(session: Session, interaction_id: UUID) -> ServedInteraction | None:
    return session.get(ServedInteraction, interaction_id)


def save_thumb(session: Session, event_id: UUID, interaction_id: UUID, *, up: bool) -> None:
    values = {"event_id": event_id, "interaction_id": interaction_id, "up": up}
    session.execute(insert(HeardThumb).values(values).on_conflict_do_nothing())


def load_first_thumb(session: Session, interaction_id: UUID) -> HeardThumb | None:
    """The first thumb that was heard of an answer."""
    return session.scalars(
        select(HeardThumb)
        .where(HeardThumb.interaction_id == interaction_id)
        .order_by(HeardThumb.heard_at, HeardThumb.event_id)
        .limit(1)
    ).first()


def delete_waiting(session: Session, before: datetime) -> None:
    """Forget thumbs and answers of before then; the votes that they made stay."""
    session.execute(delete(HeardThumb).where(HeardThumb.heard_at < before))
    session.execute(delete(ServedInteraction).where(ServedInteraction.served_at < before))


def save_vote(session: Session, **values: Any) -> None:
    """A user's first vote in a rollout stands."""
    session.execute(insert(Vote).values(**values).on_conflict_do_nothing(index_elements=["rollout_id", "user"]))


def load_votes(session: Session, rollout_id: UUID, *, after: int) -> list[tuple[int, CastVote]]:
    """Those with a sequence number above `after`, with it, in the order in which they were heard."""
    rows = session.execute(
        select(Vote.sequence, Vote.arm, Vote.up)
        .where(Vote.rollout_id == rollout_id, Vote.sequence > after)
        .order_by(Vote.sequence)
    )
    return [(sequence, CastVote(arm, up)) for sequence, arm, up in rows]  # type: ignore[arg-type]  # checked there


def count_votes(session: Session, rollout_id: UUID) -> int:
    return session.scalar(select(func.count()).select_from(Vote).where(Vote.rollout_id == rollout_id)) or 0


def count_stage_votes(session: Session, rollout_id: UUID, stage: int) -> dict[Arm, Counts]:
    """Votes of a stage by arm; no entry for an arm without any."""
    rows = session.execute(
        select(Vote.arm, func.count(), func.count().filter(Vote.up))
        .where(Vote.rollout_id == rollout_id, Vote.stage == stage)
        .group_by(Vote.arm)
    )
    return {arm: Counts(votes, ups) for arm, votes, ups in rows}  # type: ignore[misc]  # the table's check


def count_canary_answers(session: Session, rollout: Rollout, window: int) -> tuple[int, int]:
    """(the latest answers meant for the canary, at most `window`; those that failed or came from another version)."""
    latest = (
        select(
            (
                ServedInteraction.error.is_not(None) | (ServedInteraction.served_version != rollout.candidate_version)
            ).label("failed")
        )
        .where(
            ServedInteraction.rollout_id == rollout.rollout_id,
            ServedInteraction.intended_version == rollout.candidate_version,
            func.coalesce(ServedInteraction.error, "").not_in(CLIENTS_FAULTS),
        )
        .order_by(ServedInteraction.served_at.desc())
        .limit(window)
        .subquery()
    )
    served, failed = session.execute(
        select(func.count(), func.count().filter(latest.c.failed)).select_from(latest)
    ).one()
    return served, failed


# audit


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
    """The whole log, oldest first."""
    return [
        Entry(row.sequence, row.at, row.actor, row.action, row.subject, row.detail, row.previous_hash, row.hash)
        for row in session.scalars(select(AuditEntry).order_by(AuditEntry.sequence))
    ]
