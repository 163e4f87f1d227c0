"""Checkpoints on disk: `<run>/<fencing token>/checkpoint-<step>`, complete once they carry a marker."""

import os
import re
import shutil
from pathlib import Path

MARKER = "complete"


def find_newest(run_folder: Path, *, below_token: int, stage: str = ".") -> Path | None:
    """The complete checkpoint with the most steps of any earlier attempt; of two equal ones, the later attempt's.

    The checkpoints of a ladder's stage lie one folder deeper.
    """
    found: list[tuple[int, int, Path]] = []
    for marker in run_folder.glob(str(Path("*", stage, "checkpoint-*", MARKER))):
        checkpoint = marker.parent
        token, step = checkpoint.relative_to(run_folder).parts[0], checkpoint.name.removeprefix("checkpoint-")
        if re.fullmatch(r"\d+", token) and re.fullmatch(r"\d+", step) and int(token) < below_token:
            found.append((int(step), int(token), checkpoint))
    return max(found)[2] if found else None


def find_finished_stage(run_folder: Path, stage: str) -> Path | None:
    """The folder of a ladder's stage that some attempt finished."""
    return next((marker.parent for marker in sorted(run_folder.glob(f"*/{stage}/{MARKER}"))), None)


def sync_folder(folder: Path) -> None:
    """Have everything in the folder on the disk, not in a cache."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def mark_complete(checkpoint: Path) -> None:
    """From now on the checkpoint counts. Call after `sync_folder`."""
    (checkpoint / MARKER).touch()
    sync_folder(checkpoint)


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
