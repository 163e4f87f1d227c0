"""Curated JSON lines as a dataset folder, written by the curator's own writer: what the trainer reads."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.curator.datasets.adapters import DatasetContent, write_dataset

Row = dict[str, Any]
FILES = ("sft", "train", "validation", "labels")


def read_lines(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_lines(file: Path, rows: Sequence[Row]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")


def freeze(data: Path, datasets: Path) -> Path:
    """Write the dataset folder of `sft.jsonl`, `train.jsonl`, `validation.jsonl` and, if there is one, `labels.jsonl`.

    The test split stays out of it.
    """
    files = {path.stem: read_lines(path) for path in sorted(data.glob("*.jsonl")) if path.stem in FILES}
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    content = DatasetContent(
        dataset_sha256=digest,
        rows={
            "sft": [_demonstration(row, f"sft-{index}") for index, row in enumerate(files["sft"])],
            "train": [_pair(row, f"train-{index}") for index, row in enumerate(files["train"])],
            "validation": [_pair(row, f"validation-{index}") for index, row in enumerate(files["validation"])],
            "labels": [_label(row, f"label-{index}") for index, row in enumerate(files.get("labels", []))],
            "safety": [],
        },
        manifest={"made_from": data.parent.name, "counts": {name: len(rows) for name, rows in files.items()}},
        card=f"Frozen from the curated JSON lines of the recipe {data.parent.name}.\n",
        selection_log=[],
    )
    return write_dataset(datasets, content)


def _demonstration(row: Row, name: str) -> Row:
    return {"prompt": row["prompt"], "completion": _say(row["answer"]), **_curated(), "pair_id": name, "label_id": None}


def _label(row: Row, name: str) -> Row:
    answer = {"completion": _say(row["answer"]), "label": row["label"]}
    return {"prompt": row["prompt"], **answer, **_curated(), "label_id": name}


def _pair(row: Row, name: str) -> Row:
    sides = {"chosen": _say(row["chosen"]), "rejected": _say(row["rejected"])}
    return {"prompt": row["prompt"], **sides, **_curated(), "pair_id": name}


def _curated() -> Row:
    """Written on purpose, so no pair is the wrong way round."""
    return {"epsilon": 0.0, "rule": "curated", "rule_version": 1}


def _say(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]
