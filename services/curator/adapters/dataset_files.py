"""A frozen dataset's files: Parquet and a manifest, in a folder named by their content."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from services.curator.domain.rows import FileName, Row

_MESSAGES = pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())]))
_WEIGHING = [("epsilon", pyarrow.float64()), ("rule", pyarrow.string()), ("rule_version", pyarrow.int32())]
_PAIRS = pyarrow.schema(
    [
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        *_WEIGHING,
        ("pair_id", pyarrow.string()),
    ]
)
SCHEMAS: dict[FileName, Any] = {
    "train": _PAIRS,
    "validation": _PAIRS,
    "labels": pyarrow.schema(
        [
            ("prompt", _MESSAGES),
            ("completion", _MESSAGES),
            ("label", pyarrow.bool_()),
            *_WEIGHING,
            ("label_id", pyarrow.string()),
        ]
    ),
    "sft": pyarrow.schema([("prompt", _MESSAGES), ("completion", _MESSAGES), ("pair_id", pyarrow.string())]),
}


def write_dataset(
    datasets_dir: Path, dataset_sha256: str, rows: dict[FileName, list[Row]], manifest: dict[str, Any]
) -> Path:
    """The dataset's folder. A folder of that name is complete and has this content, and is left alone."""
    folder = datasets_dir.resolve() / dataset_sha256
    if folder.exists():
        return folder
    datasets_dir.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=datasets_dir))
    try:
        draft.chmod(0o755)
        for name, schema in SCHEMAS.items():
            table = pyarrow.Table.from_pylist(rows[name], schema=schema)
            pyarrow.parquet.write_table(table, draft / f"{name}.parquet")
        (draft / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        draft.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was first, with the same content
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
