"""The datasets that were frozen on this machine, by hash."""

import json
from pathlib import Path
from typing import Any

from shared.errors import InvalidRequest, NotFound
from shared.settings import Settings, load_settings


def find_dataset(reference: str) -> Path:
    """Return the folder of a dataset.

    Raises:
        NotFound: no dataset's hash begins like that.
        InvalidRequest: several do.
    """
    found = [folder for folder in list_folders() if reference and folder.name.startswith(reference)]
    if not found:
        raise NotFound(f"no dataset in {load_settings(Settings).datasets} begins with {reference!r}")
    if len(found) > 1:
        raise InvalidRequest(f"{len(found)} datasets begin with {reference!r}: say more of the hash")
    return found[0]


def list_folders() -> list[Path]:
    """List the folders of all datasets, oldest first."""
    folders = [file.parent for file in load_settings(Settings).datasets.glob("*/manifest.json")]
    return sorted((folder for folder in folders if not folder.name.startswith(".")), key=_find_age)


def _find_age(folder: Path) -> float:
    return (folder / "manifest.json").stat().st_mtime


def read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest
