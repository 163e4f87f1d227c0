"""A dataset's folder with the rows that a recipe's replay chose, for the methods to read in place of the dataset's."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.trainer.domain.recipe.sections import Replay
from services.trainer.domain.replay import EarlierSnapshot, choose_rows
from services.trainer.domain.training import TrainingFailed
from shared.artifacts.manifest import FILES as FILES_LISTED
from shared.conversation import drop_nulls

FILES = ("train.parquet", "labels.parquet", "sft.parquet")
FACTOR = "factor"
"""Column of what a pair's weight is multiplied by."""

Rows = list[dict[str, Any]]
AddRows = Callable[[str, Rows], Rows]


@dataclass(frozen=True)
class MixedDataset:
    dataset: Path
    summary: dict[str, Any]
    """By file, what was taken of it; and the snapshots that could not be asked."""


def mix_dataset(
    dataset: Path,
    earlier: Sequence[EarlierSnapshot],
    replay: Replay,
    *,
    seed: int,
    target: Path,
    folders: Sequence[Path] = (),
) -> MixedDataset:
    """Write the mix: the same for the same dataset, snapshots, recipe and seed. Of `gate` there is nothing to take.

    `folders` are snapshots whose own rows are old ones too; without them a row is replayed only if the dataset holds
    it still, for what its curator left out since (erased, retracted, near a gate prompt) must not come back.

    Raises:
        TrainingFailed: a row has no id to tell new from old by.
    """
    target.mkdir(parents=True, exist_ok=True)
    kept_back = _list_prompts(dataset / "validation.parquet")
    summary: dict[str, Any] = {}
    for name in FILES:
        if (dataset / name).is_file():
            add = partial(_list_others, folders=folders, kept_back=kept_back)
            summary[name.removesuffix(".parquet")] = _mix_file(dataset / name, earlier, replay, seed, target, add)
    if missing := {one.name: one.missing for one in earlier if one.missing}:
        summary["skipped"] = missing
    if replay.rule_weights is not None:
        summary["rule_weights"] = replay.rule_weights
    shutil.copyfile(dataset / "validation.parquet", target / "validation.parquet")
    manifest = {name: value for name, value in _read_manifest(dataset).items() if name != FILES_LISTED}
    (target / "manifest.json").write_text(json.dumps(manifest | {"replay": summary}), encoding="utf-8")
    return MixedDataset(target, summary)


def _mix_file(
    file: Path, earlier: Sequence[EarlierSnapshot], replay: Replay, seed: int, target: Path, add: AddRows
) -> dict[str, Any]:
    """Write the mix of one file into the folder `target`; returns what was taken."""
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows += add(file.name, rows)
    by_id = {_identify(row, file.name): row for row in rows}
    mix = choose_rows(list(by_id), earlier, replay, seed)
    chosen = [by_id[row] for row in mix.ids]
    if file.name == "train.parquet" and replay.rule_weights is not None:
        chosen = [row | {FACTOR: float(replay.rule_weights.get(row["rule"], 1.0))} for row in chosen]
    pq.write_table(pa.Table.from_pylist(chosen, schema=None if chosen else table.schema), target / file.name)
    return mix.describe()


def _identify(row: dict[str, Any], name: str) -> str:
    found = row.get("pair_id") or row.get("label_id")
    if not found:
        raise TrainingFailed(f"replay: a row of {name} has neither pair_id nor label_id")
    return str(found)


def _list_prompts(file: Path) -> set[str]:
    """List the prompts that must not be trained on: those of the validation split."""
    if not file.is_file():
        raise TrainingFailed("the dataset has no validation.parquet")
    return {json.dumps(drop_nulls(prompt)) for prompt in pq.read_table(file, columns=["prompt"])["prompt"].to_pylist()}


def _list_others(name: str, rows: Rows, folders: Sequence[Path], kept_back: set[str]) -> Rows:
    """Rows of other folders that the dataset does not hold, each once."""
    known = {_identify(row, name) for row in rows}
    others: Rows = []
    for folder in folders:
        for row in pq.read_table(folder / name).to_pylist() if (folder / name).is_file() else []:
            identity = _identify(row, name)
            if identity not in known and json.dumps(drop_nulls(row["prompt"])) not in kept_back:
                known.add(identity)
                others.append(row)
    return others


def load_earlier(folder: Path) -> EarlierSnapshot:
    """Load a folder as an earlier snapshot; one without its files says so."""
    ids: set[str] = set()
    found = [folder / name for name in FILES if (folder / name).is_file()]
    for file in found:
        ids.update(_identify(row, file.name) for row in pq.read_table(file).to_pylist())
    return EarlierSnapshot(folder.name, frozenset(ids), None if found else "its files are gone")


def _read_manifest(dataset: Path) -> dict[str, Any]:
    file = dataset / "manifest.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content
