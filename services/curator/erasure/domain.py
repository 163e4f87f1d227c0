"""A successor dataset: a dataset without the erased rows."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from services.curator.datasets.domain.rows import FileName, Row
from shared.user_stores import OTHERS, TABLES, list_retained

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


def list_places() -> list[dict[str, str]]:
    """List every place that was looked at, who erases there, and what became of the user."""
    tables = [{"place": store.table, "erased_by": store.erased_by, "how": store.how} for store in TABLES]
    return tables + [{"place": store.place, "erased_by": store.erased_by, "how": store.how} for store in OTHERS]


def derive_raw_copies(topics: Sequence[str], until: datetime) -> dict[str, Any]:
    """Derive where raw copies may still be found, and until when; without a date where others decide."""
    return {
        "until": until.isoformat(),
        "places": [
            {"place": store.place, "until": until.isoformat() if store.expires else None, "how": store.how}
            for store in list_retained(topics)
        ],
        "summary": "they are dropped unread when they are consumed, replayed or restored",
    }


def name_places(left: Sequence[int]) -> list[str]:
    """Name the tables in which rows are left, given their counts in the order of the list."""
    return [store.table for store, rows in zip(TABLES, left, strict=True) if rows]


def prune(value: Any, erased: Collection[str]) -> Any:
    """Remove the erased ids from a JSON value, wherever they stand in a list or name a member."""
    gone = frozenset(erased)
    if isinstance(value, dict):
        return {key: prune(item, gone) for key, item in value.items() if key not in gone}
    if isinstance(value, list):
        return [prune(item, gone) for item in value if not (isinstance(item, str) and item in gone)]
    return value
