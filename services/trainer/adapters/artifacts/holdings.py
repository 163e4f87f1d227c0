"""What a frozen dataset holds, by the rows of its files."""

from pathlib import Path

import pyarrow.parquet as pq

from services.trainer.domain.planning.suggestion import Holdings
from shared.errors import InvalidRequest


def count_holdings(dataset: Path) -> Holdings:
    """Count the rows of a dataset's files; one that is missing holds none.

    Raises:
        InvalidRequest: the folder is no dataset.
    """
    if not (dataset / "train.parquet").is_file():
        raise InvalidRequest(f"dataset: {str(dataset)!r} holds no train.parquet")
    labels = _read_labels(dataset / "labels.parquet")
    return Holdings(
        pairs=_count_rows(dataset / "train.parquet"),
        validation_pairs=_count_rows(dataset / "validation.parquet"),
        answers=_count_rows(dataset / "sft.parquet"),
        liked=labels.count(True),
        disliked=labels.count(False),
    )


def _count_rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows) if path.is_file() else 0


def _read_labels(path: Path) -> list[bool]:
    if not path.is_file():
        return []
    labels: list[bool] = pq.read_table(path, columns=["label"])["label"].to_pylist()
    return labels
