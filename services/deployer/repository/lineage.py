"""What a candidate came from, read from the trainer's and the curator's tables."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from shared.tables.access import Account, ApiKey
from shared.tables.curator import Dataset, Feedback, Pair, RetrainRequestRow
from shared.tables.evaluator import Comparison, Evaluation
from shared.tables.trainer import Run


def load_run_hashes(session: Session, run_id: UUID) -> dict[str, str]:
    """Return the hashes of weights, dataset, recipe and files of a training run, and where its files are.

    Empty strings stand for what is unknown.
    """
    run = session.get(Run, run_id)
    return {
        "weights": (run and run.weights_sha256) or "",
        "dataset": (run and run.dataset_sha256) or "",
        "recipe": (run and run.recipe_sha256) or "",
        "content": (run and run.content_sha256) or "",
        "model": (run and run.served_model) or "",
    }


def has_judged(session: Session, request_id: UUID, key_id: str, name: str) -> bool:
    """Tell whether a key or account, or another one of the same name, voted on a request's candidate."""
    accounts = select(Account.account_id).where(Account.name == name)
    keys = select(ApiKey.key_id).where(ApiKey.name == name).union(accounts)
    evaluations = select(Evaluation.evaluation_id).where(Evaluation.request_id == request_id)
    theirs = or_(Comparison.voter_key == key_id, Comparison.voter_key.in_(keys))
    return bool(session.scalar(select(exists().where(Comparison.evaluation_id.in_(evaluations), theirs))))


def find_erased_dataset(session: Session, request_id: UUID) -> str | None:
    """Return the dataset that this request's candidate learnt from, if a user or import in it was erased since."""
    query = select(Dataset.dataset_sha256).join(Run, Run.dataset_sha256 == Dataset.dataset_sha256)
    return session.scalar(query.where(Run.request_id == request_id, Dataset.erased_at.is_not(None)))


def measure_click_ages(session: Session, request_id: UUID, until: datetime, quantiles: Sequence[float]) -> list[float]:
    """Return quantiles of the seconds from a click's arrival to `until`; empty when there are no clicks.

    Over the evidence of the active pairs that were new to the request's dataset.
    """
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
