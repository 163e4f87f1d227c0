"""SQL of the evaluator. It writes schema `evaluator` only and reads a little of `curator` and `deployer`."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Text, case, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from services.evaluator.domain.comparisons import ComparisonDraft
from services.evaluator.domain.prompts import GatePrompt
from shared.errors import StaleClaim
from shared.events import TrainingCompleted
from shared.ids import new_id
from shared.tables import curator, deployer, erasures
from shared.tables.evaluator import Comparison, Evaluation

GATE_PROMPTS_READ = 20_000


def load_champion_version(session: Session, family: str) -> str | None:
    """Return the champion of the routing table in force, if there is one yet."""
    table = session.scalar(
        select(deployer.RoutingGeneration.table)
        .where(deployer.RoutingGeneration.family == family)
        .order_by(deployer.RoutingGeneration.generation.desc())
        .limit(1)
    )
    return str(table["champion"]["version"]) if table else None


def load_gate_prompts(session: Session, candidate_version: str) -> list[GatePrompt]:
    """Return gate prompts that somebody really asked, none of a conversation that the candidate had a part in."""
    prompt, asked = curator.Prompt, curator.Interaction
    by_candidate = aliased(curator.Interaction)
    conversations = select(by_candidate.conversation_id).where(
        by_candidate.model_version == candidate_version, by_candidate.conversation_id.is_not(None)
    )
    took_part = or_(asked.model_version == candidate_version, asked.conversation_id.in_(conversations))
    rows = session.execute(
        select(prompt.prompt_hash, prompt.cell, prompt.messages, func.min(asked.served_at), prompt.tools)
        .join(asked, asked.prompt_hash == prompt.prompt_hash)
        .where(prompt.split == "gate")
        .group_by(prompt.prompt_hash)
        .having(~func.bool_or(func.coalesce(took_part, False)))
        .order_by(prompt.prompt_hash)
        .limit(GATE_PROMPTS_READ)
    )
    return [
        GatePrompt(prompt_hash, cell, messages, first_asked_at, tools or [])
        for prompt_hash, cell, messages, first_asked_at, tools in rows
    ]


def load_gate_uses(session: Session) -> dict[str, list[datetime]]:
    """Return, by cell, when each evaluation was opened that compared answers to one of its prompts."""
    rows = session.execute(
        select(curator.Prompt.cell, Evaluation.created_at)
        .join(Comparison, Comparison.prompt_hash == curator.Prompt.prompt_hash)
        .join(Evaluation, Evaluation.evaluation_id == Comparison.evaluation_id)
        .distinct()
    )
    uses: dict[str, list[datetime]] = defaultdict(list)
    for cell, at in rows:
        uses[cell].append(at)
    return dict(uses)


def load_dataset_uri(session: Session, dataset_sha256: str) -> str | None:
    return session.scalar(select(curator.Dataset.uri).where(curator.Dataset.dataset_sha256 == dataset_sha256))


def save_evaluation(
    session: Session, event: TrainingCompleted, champion_version: str, now: datetime, deadline_at: datetime
) -> bool:
    """Open an evaluation; False when the request has one already."""
    inserted = session.execute(
        insert(Evaluation)
        .values(
            evaluation_id=new_id(),
            request_id=event.request_id,
            run_id=event.run_id,
            candidate_version=event.candidate_version,
            champion_version=champion_version,
            training=msgspec.to_builtins(event),
            state="generating",
            created_at=now,
            deadline_at=deadline_at,
        )
        .on_conflict_do_nothing(index_elements=["request_id"])
        .returning(Evaluation.evaluation_id)
    )
    return inserted.first() is not None


def claim_generating(session: Session, now: datetime, stale_before: datetime) -> Evaluation | None:
    """Claim the oldest evaluation that needs answers and nobody works on; count the attempt."""
    evaluation = _claim(session, Evaluation.state == "generating", now, stale_before)
    if evaluation:
        evaluation.attempts += 1
    return evaluation


def claim_judged(session: Session, now: datetime, stale_before: datetime) -> Evaluation | None:
    """Claim the oldest evaluation whose votes are all in, or whose deadline has passed."""
    waiting = exists().where(Comparison.evaluation_id == Evaluation.evaluation_id, Comparison.vote.is_(None))
    due = or_(Evaluation.deadline_at <= now, ~waiting)
    return _claim(session, (Evaluation.state == "voting") & due, now, stale_before)


def _claim(
    session: Session, condition: ColumnElement[bool], now: datetime, stale_before: datetime
) -> Evaluation | None:
    free = or_(Evaluation.claimed_by.is_(None), Evaluation.heartbeat_at < stale_before)
    evaluation = session.scalar(
        select(Evaluation)
        .where(condition, free)
        .order_by(Evaluation.evaluation_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if evaluation:
        evaluation.claimed_by, evaluation.heartbeat_at = new_id(), now
    return evaluation


def load_claimed(session: Session, evaluation_id: UUID, claim: UUID | None) -> Evaluation:
    """Return the evaluation, locked.

    Raises:
        StaleClaim: somebody else works on it by now.
    """
    evaluation = session.get(Evaluation, evaluation_id, with_for_update=True)
    if evaluation is None or claim is None or evaluation.claimed_by != claim:
        raise StaleClaim(f"evaluation {evaluation_id} is no longer ours")
    return evaluation


def save_heartbeat(
    session: Session, evaluation_id: UUID, claim: UUID | None, now: datetime, progress: dict[str, Any]
) -> bool:
    """Save a sign of life and how far the work is; False when somebody else works on the evaluation by now."""
    statement = (
        update(Evaluation)
        .where(Evaluation.evaluation_id == evaluation_id, Evaluation.claimed_by == claim)
        .values(heartbeat_at=now, progress=progress)
        .returning(Evaluation.evaluation_id)
    )
    return session.scalar(statement) is not None


def save_comparisons(session: Session, evaluation_id: UUID, drafts: Sequence[ComparisonDraft], now: datetime) -> None:
    session.add_all(
        Comparison(
            comparison_id=new_id(),
            evaluation_id=evaluation_id,
            position=draft.position,
            prompt_hash=draft.prompt_hash,
            messages=draft.messages,
            left_answer=draft.left,
            right_answer=draft.right,
            candidate_is_left=draft.candidate_is_left,
            vote=draft.settled,
            voter="equal answers" if draft.settled else None,
            voted_at=now if draft.settled else None,
        )
        for draft in drafts
    )


def load_comparisons(session: Session, evaluation_id: UUID) -> Sequence[Comparison]:
    return session.scalars(
        select(Comparison).where(Comparison.evaluation_id == evaluation_id).order_by(Comparison.position)
    ).all()


def count_votes(session: Session, evaluation_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    """Return (votes cast, votes asked for) by evaluation."""
    rows = session.execute(
        select(Comparison.evaluation_id, func.count(Comparison.vote), func.count())
        .where(Comparison.evaluation_id.in_(evaluation_ids))
        .group_by(Comparison.evaluation_id)
    )
    return {evaluation_id: (cast, asked) for evaluation_id, cast, asked in rows}


def list_erased_comparisons(session: Session) -> Sequence[Comparison]:
    """Return comparisons that still show a prompt which the curator deleted: it deletes prompts for erasures only."""
    anyone_erased = exists().where(erasures.Erasure.erasure_id.is_not(None))
    known = exists().where(curator.Prompt.prompt_hash == Comparison.prompt_hash)
    query = select(Comparison).where(anyone_erased, ~known, func.jsonb_array_length(Comparison.messages) > 0)
    return session.scalars(query.with_for_update()).all()


def forget_erased_raters(session: Session) -> int:
    """Take whoever is being erased out of the votes that they cast as a rater; returns how many rows changed."""
    erased = select(erasures.Erasure.user).where(erasures.Erasure.state == "running")
    changed = 0
    for column in (Comparison.voter, Comparison.offered_to):
        nobody = "erased:" + func.gen_random_uuid().cast(Text)
        change = (
            update(Comparison).where(column.in_(erased)).values({column: nobody}).returning(Comparison.comparison_id)
        )
        changed += len(session.execute(change).all())
    return changed


def count_waiting_comparisons(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Comparison).where(_is_waiting())) or 0


def load_leased(session: Session, person: str, leased_after: datetime) -> Comparison | None:
    """Return what this person was shown a moment ago and has not voted on."""
    return session.scalar(
        select(Comparison)
        .where(_is_waiting(), Comparison.offered_to == person, Comparison.offered_at > leased_after)
        .order_by(Comparison.offered_at)
        .limit(1)
    )


def lease_comparison(session: Session, person: str, now: datetime, leased_after: datetime) -> Comparison | None:
    """Lease the next comparison that nobody is looking at; prompts whose twin this person has seen come last."""
    twin = aliased(Comparison)
    seen_twin = exists().where(
        twin.evaluation_id == Comparison.evaluation_id,
        twin.prompt_hash == Comparison.prompt_hash,
        twin.comparison_id != Comparison.comparison_id,
        or_(twin.offered_to == person, twin.voter == person),
    )
    comparison = session.scalar(
        select(Comparison)
        .where(_is_waiting(), or_(Comparison.offered_at.is_(None), Comparison.offered_at <= leased_after))
        .order_by(case((seen_twin, 1), else_=0), Comparison.evaluation_id, Comparison.position)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if comparison:
        comparison.offered_to, comparison.offered_at = person, now
    return comparison


def _is_waiting() -> ColumnElement[bool]:
    voting = exists().where(Evaluation.evaluation_id == Comparison.evaluation_id, Evaluation.state == "voting")
    return voting & Comparison.vote.is_(None)


def load_for_vote(session: Session, comparison_id: UUID) -> tuple[Comparison, Evaluation] | None:
    """Return the comparison, locked, and its evaluation, kept from completion meanwhile."""
    comparison = session.get(Comparison, comparison_id, with_for_update=True)
    if comparison is None:
        return None
    evaluation = session.get_one(Evaluation, comparison.evaluation_id, with_for_update={"read": True})
    return comparison, evaluation


def has_voted_as_another(session: Session, evaluation_id: UUID, key_id: str, person: str) -> bool:
    """Tell whether a key has voted in an evaluation for somebody else than this person."""
    by_key = (Comparison.evaluation_id == evaluation_id) & (Comparison.voter_key == key_id)
    return bool(session.scalar(select(exists().where(by_key, Comparison.voter != person))))


def load_evaluation(session: Session, evaluation_id: UUID, *, for_update: bool = False) -> Evaluation | None:
    return session.get(Evaluation, evaluation_id, with_for_update=for_update)


def list_evaluations(session: Session, limit: int) -> Sequence[Evaluation]:
    return session.scalars(select(Evaluation).order_by(Evaluation.evaluation_id.desc()).limit(limit)).all()


def load_unanswered(session: Session, announced_before: datetime, announcements: int) -> Sequence[Evaluation]:
    """Return completed evaluations of which the deployer has made nothing yet, locked."""
    answered = exists().where(deployer.Rollout.request_id == Evaluation.request_id)
    return session.scalars(
        select(Evaluation)
        .where(
            Evaluation.state == "completed",
            Evaluation.announced_at < announced_before,
            Evaluation.announcements < announcements,
            ~answered,
        )
        .order_by(Evaluation.evaluation_id)
        .with_for_update(skip_locked=True)
    ).all()
