"""A frozen dataset's files: Parquet, a manifest and a card, in a folder named by their content."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet

from services.curator.datasets.domain.report_page import render_report
from services.curator.datasets.domain.rows import FileName, Row
from shared.artifacts import Artifacts
from shared.artifacts.manifest import write_manifest
from shared.conversation import drop_nulls

SELECTION_LOG = Path("meta/ledger.parquet")
"""Out of the way of those who read every Parquet file of the folder."""
REPORT_PAGE = Path("meta/report.html")
"""With ids for examples: the curator's API shows their texts to admins."""

_CALL = pyarrow.struct(
    [
        ("id", pyarrow.string()),
        ("type", pyarrow.string()),
        ("function", pyarrow.struct([("name", pyarrow.string()), ("arguments", pyarrow.string())])),
    ]
)
_ANSWER = pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())]))
_PROMPT = pyarrow.list_(
    pyarrow.struct(
        [
            ("role", pyarrow.string()),
            ("content", pyarrow.string()),
            ("tool_calls", pyarrow.list_(_CALL)),
            ("tool_call_id", pyarrow.string()),
            ("name", pyarrow.string()),
            ("reasoning_content", pyarrow.string()),
        ]
    )
)
_WEIGHING = [("epsilon", pyarrow.float64()), ("rule", pyarrow.string()), ("rule_version", pyarrow.int32())]
_PAIRS = pyarrow.schema(
    [
        ("prompt", _PROMPT),
        ("tools", pyarrow.string()),
        ("chosen", _ANSWER),
        ("rejected", _ANSWER),
        *_WEIGHING,
        ("pair_id", pyarrow.string()),
    ]
)
_LABELS = pyarrow.schema(
    [
        ("prompt", _PROMPT),
        ("tools", pyarrow.string()),
        ("completion", _ANSWER),
        ("label", pyarrow.bool_()),
        *_WEIGHING,
        ("label_id", pyarrow.string()),
    ]
)
_SFT = pyarrow.schema(
    [
        ("prompt", _PROMPT),
        ("tools", pyarrow.string()),
        ("completion", _ANSWER),
        *_WEIGHING,
        ("pair_id", pyarrow.string()),
        ("label_id", pyarrow.string()),
    ]
)
_SELECTION_LOG = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("kind", pyarrow.string()),
        *_WEIGHING,
        ("file", pyarrow.string()),
        ("reason", pyarrow.string()),
    ]
)
SCHEMAS: dict[FileName, Any] = {
    "train": _PAIRS,
    "validation": _PAIRS,
    "labels": _LABELS,
    "sft": _SFT,
    "safety": _LABELS,
}


@dataclass(frozen=True)
class DatasetContent:
    """All that a dataset's folder holds."""

    dataset_sha256: str
    rows: dict[FileName, list[Row]]
    manifest: dict[str, Any]
    card: str
    selection_log: list[Row]


def write_dataset(datasets_dir: Path, content: DatasetContent) -> Path:
    """Write the dataset's folder, unless it is there: a folder of that name is complete and has this content."""
    folder = datasets_dir.resolve() / content.dataset_sha256
    if folder.exists():
        return folder
    datasets_dir.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=datasets_dir))
    try:
        draft.chmod(0o755)
        _fill(draft, content)
        draft.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was first, with the same content
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def store_dataset(artifacts: Artifacts, datasets_dir: Path, content: DatasetContent) -> str:
    """Write the dataset's folder and store it; returns the address that trainer and evaluator fetch it by.

    A copy here stays only where it is that address.

    Raises: as `Artifacts.store`.
    """
    folder = write_dataset(datasets_dir, content)
    uri = artifacts.store(folder, f"datasets/{content.dataset_sha256}")
    if artifacts.is_shared:
        shutil.rmtree(folder, ignore_errors=True)
    return uri


def _fill(folder: Path, content: DatasetContent) -> None:
    for name, schema in SCHEMAS.items():
        _write_table(content.rows[name], schema, folder / f"{name}.parquet")
    (folder / SELECTION_LOG).parent.mkdir()
    _write_table(content.selection_log, _SELECTION_LOG, folder / SELECTION_LOG)
    manifest = json.dumps(content.manifest, indent=2, sort_keys=True) + "\n"
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    (folder / "README.md").write_text(content.card, encoding="utf-8")
    if "report" in content.manifest:
        (folder / REPORT_PAGE).write_text(render_report(content.manifest), encoding="utf-8")
        report = json.dumps(content.manifest["report"], indent=2, sort_keys=True) + "\n"
        (folder / REPORT_PAGE).with_suffix(".json").write_text(report, encoding="utf-8")
    write_manifest(folder)


def _write_table(rows: list[Row], schema: Any, file: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), file)


def read_selection_log(folder: Path) -> list[Row]:
    """Read what became of every pair and label that the dataset's snapshot considered."""
    rows: list[Row] = pyarrow.parquet.read_table(folder / SELECTION_LOG).to_pylist()
    return rows


def read_rows(folder: Path) -> dict[FileName, list[Row]]:
    """Read the rows of a frozen dataset's files."""
    return {name: _read_table(folder / f"{name}.parquet") for name in SCHEMAS}


def _read_table(file: Path) -> list[Row]:
    """Read rows as they were written: what Parquet filled with null in a prompt was not there."""
    rows: list[Row] = pyarrow.parquet.read_table(file).to_pylist()
    for row in rows:
        row["prompt"] = drop_nulls(row["prompt"])
        if row.get("tools") is None:
            row.pop("tools", None)
    return rows
