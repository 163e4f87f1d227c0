"""Preference pairs from a frozen dataset."""

from pathlib import Path

import pyarrow.parquet as pq
from datasets import Dataset

from services.trainer.domain.training import TrainingFailed

COLUMNS = ("prompt", "chosen", "rejected", "epsilon")


def load_pairs(path: Path) -> Dataset:
    """The pairs of one split: `prompt`, `chosen` and `rejected` as lists of messages, and `epsilon`.

    Raises:
        TrainingFailed: no such file, or a column is missing.
    """
    if not path.is_file():
        raise TrainingFailed(f"the dataset has no {path.name}")
    names = pq.read_schema(path).names
    if missing := [column for column in COLUMNS if column not in names]:
        raise TrainingFailed(f"{path.name} has no column {', '.join(missing)}")
    return Dataset.from_list(pq.read_table(path, columns=list(COLUMNS)).to_pylist())
