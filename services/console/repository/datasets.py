"""Frozen datasets."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.tables.curator import Dataset, RetrainRequestRow

SUMMARY = (
    Dataset.dataset_sha256, Dataset.parent_sha256, Dataset.created_at, Dataset.erased_at, Dataset.replaced_by,
    Dataset.uri, Dataset.manifest["counts"].label("counts"),
)  # fmt: skip
"""Without the lists of ids in the manifest."""
TOLD = ("rules", "refused", "left_out")


def list_datasets(session: Session, limit: int, before: tuple[Any, str] | None) -> list[Any]:
    """Return the newest first."""
    rows = select(*SUMMARY).order_by(Dataset.created_at.desc()).limit(limit)
    if before is not None:
        rows = rows.where(Dataset.created_at < before[0])
    return list(session.execute(rows))


def load_dataset(session: Session, dataset_sha256: str) -> Any:
    """Return a dataset with what its manifest tells of it; None: there is none."""
    told = [Dataset.manifest[name].label(name) for name in TOLD]
    return session.execute(select(*SUMMARY, *told).where(Dataset.dataset_sha256 == dataset_sha256)).first()


def list_requests(session: Session, limit: int) -> list[RetrainRequestRow]:
    """Return the newest requests to retrain first."""
    rows = select(RetrainRequestRow).order_by(RetrainRequestRow.requested_at.desc()).limit(limit)
    return list(session.scalars(rows))
