"""Blind comparisons: saved, offered, voted on, counted, forgotten."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Text, exists, func, select, update
from sqlalchemy.orm import Session, load_only

from services.evaluator.domain.votes.ballots import EQUAL_ANSWERS, Ballot, Vote
from services.evaluator.domain.votes.comparisons import ComparisonDraft
from services.evaluator.domain.votes.offers import Offer, Place, Rater
from shared.ids import new_id
from shared.tables import curator, erasures
from shared.tables.evaluator import Comparison, Evaluation

BALLOT_COLUMNS = (
    Comparison.prompt_hash,
    Comparison.candidate_is_left,
    Comparison.vote,
    Comparison.voter,
    Comparison.voter_key,
    Comparison.voted_at,
    Comparison.pile,
    Comparison.selection_probability,
    Comparison.selection_pool,
    Comparison.candidate_version,
)


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
            candidate_version=draft.candidate,
            vote=draft.settled,
            voter=EQUAL_ANSWERS if draft.settled else None,
            voted_at=now if draft.settled else None,
            pile=draft.pile,
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


def load_places(session: Session, evaluation_id: UUID) -> list[Place]:
    rows = session.execute(
        select(
            Comparison.comparison_id,
            Comparison.position,
            Comparison.prompt_hash,
            Comparison.pile,
            Comparison.voter,
            Comparison.vote.is_not(None),
            Comparison.offered_to,
            Comparison.offered_at,
            Comparison.offered_key,
        )
        .where(Comparison.evaluation_id == evaluation_id)
        .order_by(Comparison.position)
    )
    return [Place(*row) for row in rows]


def lease_comparison(session: Session, offer: Offer, rater: Rater, now: datetime) -> Comparison | None:
    """Keep the comparison for this rater; None when it has a vote by now."""
    comparison = session.get(Comparison, offer.comparison_id, with_for_update=True)
    if comparison is None or comparison.vote is not None:
        return None
    comparison.offered_to, comparison.offered_key, comparison.offered_at = rater.person, rater.key_id, now
    comparison.selection_probability, comparison.selection_pool = offer.probability, offer.pool
    return comparison


def load_ballots(session: Session, evaluation_id: UUID) -> list[Ballot]:
    """Return an evaluation's comparisons without their texts."""
    rows = session.scalars(
        select(Comparison)
        .options(load_only(*BALLOT_COLUMNS))
        .where(Comparison.evaluation_id == evaluation_id)
        .order_by(Comparison.position)
    )
    return [derive_ballot(row) for row in rows]


def derive_ballot(row: Comparison) -> Ballot:
    """Return a comparison as evidence: its rater is the key behind the vote, whatever name it gave."""
    drawn = row.selection_probability is not None and row.selection_pool is not None
    return Ballot(
        row.prompt_hash,
        row.candidate_is_left,
        msgspec.convert(row.vote, Vote | None),
        rater=None if row.voter == EQUAL_ANSWERS else row.voter_key or row.voter,
        pile=row.pile,
        cast=row.voted_at.timestamp() if row.voted_at else 0.0,
        weight=1 / (row.selection_probability * row.selection_pool) if drawn else 1.0,  # type: ignore[operator]
        candidate=row.candidate_version,
    )


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


def has_voted_as_another(session: Session, evaluation_id: UUID, rater: Rater) -> bool:
    """Tell whether a rater's key has voted in an evaluation for somebody else."""
    by_key = (Comparison.evaluation_id == evaluation_id) & (Comparison.voter_key == rater.key_id)
    return bool(session.scalar(select(exists().where(by_key, Comparison.voter != rater.person))))
