"""The deployer's SQL: its own schema, and what it reads of the trainer's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.deployer.domain.approval import GENESIS, Entry, calculate_entry_hash
from services.deployer.domain.evidence import Vote as CastVote
from services.deployer.domain.rollout import CLOSED
from shared.db import lock_all
from shared.events import Route, RoutingTable
from shared.tables.deployer import AuditEntry, HeardThumb, Rollout, RoutingGeneration, ServedInteraction, Vote
from shared.tables.trainer import Run

# routing


def load_routing(session: Session, family: str) -> RoutingTable | None:
    """The table in force."""
    row = session.scalars(
        select(RoutingGeneration)
        .where(RoutingGeneration.family == family)
        .order_by(RoutingGeneration.generation.desc())
        .limit(1)
    ).first()
    return msgspec.convert(row.table, RoutingTable) if row else None


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


# rollouts


def load_rollout(session: Session, rollout_id: UUID, *, for_update: bool = False) -> Rollout | None:
    return session.get(Rollout, rollout_id, with_for_update=for_update or None)


def load_rollout_of_request(session: Session, request_id: UUID) -> Rollout | None:
    return session.scalars(select(Rollout).where(Rollout.request_id == request_id)).first()


def list_rollouts(session: Session, limit: int) -> Sequence[Rollout]:
    """Newest first."""
    return session.scalars(select(Rollout).order_by(Rollout.created_at.desc()).limit(limit)).all()


def list_open_rollouts(session: Session) -> Sequence[Rollout]:
    """Oldest first."""
    return session.scalars(select(Rollout).where(Rollout.state.not_in(CLOSED)).order_by(Rollout.created_at)).all()


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


def delete_old_thumbs(session: Session, before: datetime) -> None:
    session.execute(delete(HeardThumb).where(HeardThumb.heard_at < before))


def save_vote(session: Session, **values: Any) -> None:
    """A user's first vote in a rollout stands."""
    session.execute(insert(Vote).values(**values).on_conflict_do_nothing(index_elements=["rollout_id", "user"]))


def load_votes(session: Session, rollout_id: UUID) -> list[CastVote]:
    """In the order in which they were heard."""
    rows = session.execute(select(Vote.arm, Vote.up).where(Vote.rollout_id == rollout_id).order_by(Vote.sequence))
    return [CastVote(arm, up) for arm, up in rows]  # type: ignore[arg-type]  # the table's check allows no other arm


def count_stage_votes(session: Session, rollout_id: UUID, stage: int) -> dict[str, int]:
    """Votes of a stage by arm."""
    rows = session.execute(
        select(Vote.arm, func.count()).where(Vote.rollout_id == rollout_id, Vote.stage == stage).group_by(Vote.arm)
    )
    return {arm: votes for arm, votes in rows}  # noqa: C416 - a Row is not a pair to mypy


def count_canary_answers(session: Session, rollout: Rollout) -> tuple[int, int]:
    """(answers meant for the canary, those of them that failed or were served by another version)."""
    meant = (
        ServedInteraction.rollout_id == rollout.rollout_id,
        ServedInteraction.intended_version == rollout.candidate_version,
    )
    failed = (ServedInteraction.error.is_not(None)) | (ServedInteraction.served_version != rollout.candidate_version)
    total = session.scalar(select(func.count()).select_from(ServedInteraction).where(*meant)) or 0
    return total, session.scalar(select(func.count()).select_from(ServedInteraction).where(*meant, failed)) or 0


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
