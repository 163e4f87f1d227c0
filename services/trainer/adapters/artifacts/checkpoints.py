"""Checkpoints on disk: `<run>/<fencing token>/checkpoint-<step>`, complete once they carry a marker."""

import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import msgspec

from services.trainer.domain.training import TrainingResult

MARKER = "complete"
SECONDS = "seconds"
RESULT = "trained.json"
ROWS_FOLDERS = (MIXED, SHARED_ROWS) = ("dataset", "rows")


def find_newest(run_folder: Path, *, below_token: int, stage: str = ".") -> Path | None:
    """Find the complete checkpoint with the most steps of any earlier attempt; of equal ones, the later attempt's.

    The checkpoints of a ladder's stage lie one folder deeper.
    """
    found: list[tuple[int, int, Path]] = []
    for marker in run_folder.glob(str(Path("*", stage, "checkpoint-*", MARKER))):
        checkpoint = marker.parent
        token, step = checkpoint.relative_to(run_folder).parts[0], checkpoint.name.removeprefix("checkpoint-")
        if re.fullmatch(r"\d+", token) and re.fullmatch(r"\d+", step) and int(token) < below_token:
            found.append((int(step), int(token), checkpoint))
    return max(found)[2] if found else None


def find_newest_of_attempt(checkpoints: Path) -> Path | None:
    """Find the complete checkpoint with the most steps of the attempt that keeps them here."""
    complete = [marker.parent for marker in checkpoints.glob(f"checkpoint-*/{MARKER}")]
    return max(complete, key=lambda checkpoint: int(checkpoint.name.removeprefix("checkpoint-")), default=None)


def find_finished_stage(run_folder: Path, stage: str) -> Path | None:
    """Find the folder of a ladder's stage that some attempt finished."""
    return next((marker.parent for marker in sorted(run_folder.glob(f"*/{stage}/{MARKER}"))), None)


def save_result(attempt: Path, candidate: Path, result: TrainingResult) -> None:
    """Write down that this attempt has trained the candidate: from now on nobody trains it again."""
    sync_folder(candidate)
    draft = attempt / f"{RESULT}.draft"
    draft.write_text(json.dumps(asdict(result)), encoding="utf-8")
    sync_folder(draft)
    draft.replace(attempt / RESULT)


def find_trained(run_folder: Path, *, below_token: int) -> tuple[Path, TrainingResult] | None:
    """Find the newest earlier attempt that has trained its candidate; returns its folder and result."""
    attempts = [path.parent for path in run_folder.glob(f"*/{RESULT}") if path.parent.name.isdigit()]
    earlier = [attempt for attempt in attempts if int(attempt.name) < below_token]
    newest = max(earlier, key=lambda attempt: int(attempt.name), default=None)
    return None if newest is None else (newest, load_result(newest))


def has_trained(run_folder: Path) -> bool:
    """Tell whether some attempt has trained its candidate."""
    return any(run_folder.glob(f"*/{RESULT}"))


def load_result(folder: Path) -> TrainingResult:
    """Load what `save_result` wrote."""
    return msgspec.json.decode((folder / RESULT).read_bytes(), type=TrainingResult)


def sync_folder(folder: Path) -> None:
    """Have everything in the folder on the disk, not in a cache."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_training_seconds(checkpoint: Path, seconds: float) -> None:
    """Save how long the run has trained up to this checkpoint."""
    (checkpoint / SECONDS).write_text(f"{seconds:.1f}", encoding="utf-8")


def load_training_seconds(checkpoint: Path) -> float:
    """Load how long the run had trained up to this checkpoint; 0 where nothing was saved."""
    path = checkpoint / SECONDS
    return float(path.read_text(encoding="utf-8")) if path.exists() else 0.0


def mark_complete(checkpoint: Path) -> None:
    """Make the checkpoint count from now on. Call after `sync_folder`."""
    (checkpoint / MARKER).touch()
    sync_folder(checkpoint)


def delete_folder(folder: Path) -> None:
    """Delete the folder with all that is in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def delete_rows(run_folder: Path) -> None:
    """Delete the copies of users' rows that the attempts made: mixed datasets, and rows that several ranks share."""
    for name in ROWS_FOLDERS:
        for folder in [*run_folder.glob(f"*/{name}"), *run_folder.glob(f"*/*/{name}")]:
            delete_folder(folder)


class GoodCheckpoints:
    """Checkpoints count as good once a later step was healthy: what a step logs is older than its weights."""

    def __init__(self) -> None:
        self._saved: list[tuple[int, Path]] = []
        self._good: tuple[int, Path] | None = None

    def add(self, step: int, checkpoint: Path) -> None:
        """Note a saved checkpoint."""
        self._saved.append((step, checkpoint))

    def confirm(self, step: int) -> None:
        """Confirm that this step was healthy."""
        confirmed = [saved for saved in self._saved if saved[0] < step]
        if confirmed:
            self._good = max(confirmed)
            self._saved = [saved for saved in self._saved if saved[0] >= step]

    @property
    def newest(self) -> Path | None:
        """The newest good checkpoint that is still there."""
        return self._good[1] if self._good and self._good[1].is_dir() else None

    def drop_later(self) -> None:
        """Delete what was saved after the newest good one, so that nobody resumes from it."""
        for _, checkpoint in self._saved:
            delete_folder(checkpoint)
        self._saved = []
