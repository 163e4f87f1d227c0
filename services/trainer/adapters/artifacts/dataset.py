"""Rows of a frozen dataset, as each method needs them. Prompts and answers are lists of messages."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset

from services.trainer.adapters.artifacts.replay import FACTOR
from services.trainer.domain.pair_weights import calculate_pair_weights
from services.trainer.domain.recipe.schema import SftRows
from services.trainer.domain.training import TrainingFailed

PAIR_COLUMNS = ("prompt", "chosen", "rejected", "epsilon")


def load_pairs(path: Path) -> Dataset:
    """Load the pairs of one split: `prompt`, `chosen`, `rejected` and `epsilon`, and in a mix their `factor`.

    Raises:
        TrainingFailed: no such file, or a column is missing.
    """
    return Dataset.from_list(_load_rows(path, PAIR_COLUMNS, optional=(FACTOR,)))


def weigh_pairs(pairs: Dataset) -> list[float]:
    """Calculate what each pair counts. Raises: InvalidRequest."""
    return calculate_pair_weights(pairs["epsilon"], pairs[FACTOR] if FACTOR in pairs.column_names else None)


def load_answers(folder: Path, rows: SftRows) -> Dataset:
    """Load `prompt` and `completion`: users' corrections and praised answers, the pairs' chosen answers, or both.

    Raises:
        TrainingFailed: as `load_pairs`, or there is no row.
    """
    answers = _load_rows(folder / "sft.parquet", ("prompt", "completion")) if rows != "chosen" else []
    if rows != "sft":
        answers += list_chosen(folder / "train.parquet")
    if not answers:
        raise TrainingFailed(f"the dataset has no answers to imitate (sft_rows: {rows})")
    return Dataset.from_list(answers)


def list_chosen(path: Path) -> list[dict[str, Any]]:
    """List the chosen answer of each pair, as `prompt` and `completion`."""
    return [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in _load_rows(path, PAIR_COLUMNS)]


def load_labels(path: Path) -> Dataset:
    """Load `prompt`, `completion` and `label` (whether the answer is desirable).

    Raises:
        TrainingFailed: as `load_pairs`, or there is no row.
    """
    rows = _load_rows(path, ("prompt", "completion", "label"))
    if not rows:
        raise TrainingFailed("the dataset has no unpaired labels")
    return Dataset.from_list(rows)


def split_pairs(path: Path) -> Dataset:
    """Load each side of each pair as a labelled row of its own."""
    rows = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in _load_rows(path, PAIR_COLUMNS)
        for side in ("chosen", "rejected")
    ]
    return Dataset.from_list(rows)


def load_prompts(path: Path) -> Dataset:
    """Load the different prompts of the pairs in order of appearance, as `prompt`.

    Raises:
        TrainingFailed: as `load_pairs`, or there is no row.
    """
    prompts = {json.dumps(row["prompt"]): row for row in _load_rows(path, ("prompt",))}
    if not prompts:
        raise TrainingFailed("the dataset has no prompts")
    return Dataset.from_list(list(prompts.values()))


def _load_rows(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    if not path.is_file():
        raise TrainingFailed(f"the dataset has no {path.name}")
    names = pq.read_schema(path).names
    if missing := [column for column in columns if column not in names]:
        raise TrainingFailed(f"{path.name} has no column {', '.join(missing)}")
    rows: list[dict[str, Any]] = pq.read_table(
        path, columns=[*columns, *(name for name in optional if name in names)]
    ).to_pylist()
    return rows
