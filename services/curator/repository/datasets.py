"""The snapshots there are, and what each holds."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import func, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.domain.evidence import Evidence, PairEvidence
from shared.tables.curator import Dataset
from shared.tables.erasures import DatasetItem, FrozenItem

INSERTED_AT_ONCE = 1000


def save_dataset(
    session: Session,
    dataset_sha256: str,
    uri: str,
    parent_sha256: str | None,
    manifest: dict[str, Any],
    through_sequence: int,
) -> Dataset:
    """The dataset's row; the one that is there, when the same content was frozen before."""
    row = {
        "dataset_sha256": dataset_sha256,
        "uri": uri,
        "parent_sha256": parent_sha256,
        "manifest": manifest,
        "through_sequence": through_sequence,
    }
    session.execute(insert(Dataset).values(row).on_conflict_do_nothing())
    return session.get_one(Dataset, dataset_sha256)


def save_items(session: Session, dataset_sha256: str, items: Iterable[Evidence]) -> None:
    """Record what a dataset holds and what each of it rests on."""
    left = iter(items)
    while part := list(islice(left, INSERTED_AT_ONCE)):
        session.execute(insert(FrozenItem).values([_describe(item) for item in part]).on_conflict_do_nothing())
        rows = [{"dataset_sha256": dataset_sha256, "item_id": item.item_id} for item in part]
        session.execute(insert(DatasetItem).values(rows).on_conflict_do_nothing())


def _describe(item: Evidence) -> dict[str, Any]:
    sides = (item.chosen_id, item.rejected_id) if isinstance(item, PairEvidence) else (item.interaction_id,)
    return {
        "item_id": item.item_id,
        "prompt_hash": item.prompt_hash,
        "evidence": list(item.evidence),
        "interactions": sorted(side for side in sides if side is not None),
    }


def load_last_sequence(session: Session) -> int:
    """The highest number that any pair or label, committed or not, was given by now."""
    return (
        session.scalar(text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM curator.derived_sequence")) or 0
    )


def inherit_items(session: Session, successor: str, old: str) -> None:
    """A successor holds what is left of the dataset that it replaces."""
    held = select(literal(successor), DatasetItem.item_id).where(DatasetItem.dataset_sha256 == old)
    session.execute(insert(DatasetItem).from_select(["dataset_sha256", "item_id"], held).on_conflict_do_nothing())


def list_erased_uris(session: Session) -> list[str]:
    return list(session.scalars(select(Dataset.uri).where(Dataset.erased_at.is_not(None))))


def load_newest_sha256(session: Session) -> str | None:
    standing = select(Dataset.dataset_sha256).where(Dataset.erased_at.is_(None))
    return session.scalar(standing.order_by(Dataset.created_at.desc()).limit(1))


def load_dataset(session: Session, dataset_sha256: str) -> Dataset | None:
    return session.get(Dataset, dataset_sha256)


def list_datasets(session: Session, limit: int) -> Sequence[Dataset]:
    """Newest first."""
    return session.scalars(select(Dataset).order_by(Dataset.created_at.desc()).limit(limit)).all()


def count_datasets(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Dataset)) or 0
