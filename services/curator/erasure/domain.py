"""A successor dataset: a dataset without the erased rows."""

from collections.abc import Collection
from typing import Any

from services.curator.datasets.domain.rows import FileName, Row

ID_COLUMNS = ("pair_id", "label_id", "item_id")


def remove_rows(rows: dict[FileName, list[Row]], erased: Collection[str]) -> dict[FileName, list[Row]]:
    """Keep the rows whose id was not erased."""
    gone = frozenset(erased)
    return {
        name: [row for row in content if not any(row.get(column) in gone for column in ID_COLUMNS)]
        for name, content in rows.items()
    }


def derive_successor_manifest(
    manifest: dict[str, Any], rows: dict[FileName, list[Row]], erased: Collection[str], dataset_sha256: str
) -> dict[str, Any]:
    """Derive the manifest of what is left; it says what it replaces and names nothing that was erased."""
    kept: dict[str, Any] = prune(manifest, erased)
    counts = {name: len(content) for name, content in rows.items() if name in manifest["counts"]}
    return kept | {
        "dataset_sha256": dataset_sha256,
        "counts": manifest["counts"] | counts,
        "replaces": manifest["dataset_sha256"],
        "erased_rows": len(erased) + manifest.get("erased_rows", 0),
    }


def prune(value: Any, erased: Collection[str]) -> Any:
    """Remove the erased ids from a JSON value, wherever they stand in a list or name a member."""
    gone = frozenset(erased)
    if isinstance(value, dict):
        return {key: prune(item, gone) for key, item in value.items() if key not in gone}
    if isinstance(value, list):
        return [prune(item, gone) for item in value if not (isinstance(item, str) and item in gone)]
    return value
