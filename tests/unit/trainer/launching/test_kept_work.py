"""What stays in the store of a failed run that trained elsewhere."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from services.trainer.adapters.artifacts.checkpoints import MIXED
from services.trainer.adapters.artifacts.run_storage import RunStorage
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import _delete_files
from shared.artifacts import Artifacts
from shared.tables.trainer import Run

RUN = UUID(int=7)
CANDIDATE = "attempts/1/candidate"
CHECKPOINT = "checkpoints/1/checkpoint-2/part-0-of-1"


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "cache", max_cache_bytes=1 << 30, root=(tmp_path / "store").as_uri())


def list_kept(artifacts: Artifacts, folder: Path, stored: str, state: str, cause: str) -> list[str]:
    """List what is left of a run once the worker has cleaned up behind it."""
    (folder / "files").mkdir()
    (folder / "files" / "weights").write_text("1")
    storage = RunStorage(artifacts, folder / "runs")
    place = storage.locate_remote(RUN)
    for name in (stored, MIXED):
        artifacts.upload(folder / "files", f"{place}/{name}")
    run = Run(run_id=RUN, state=state, progress={"cause": cause}, remote={"launcher": "spot"})
    context: Any = SimpleNamespace(runs_folder=folder / "runs", storage=storage)
    _delete_files(run, cast(WorkerContext, context))
    return artifacts.list_below(place)


@pytest.mark.parametrize(
    ("stored", "state", "cause", "is_kept"),
    [
        (CANDIDATE, "failed", "deadline", True),
        (CANDIDATE, "failed", "error", True),
        (CHECKPOINT, "failed", "deadline", True),
        (CHECKPOINT, "failed", "launcher", True),
        (CHECKPOINT, "failed", "error", False),
        (CANDIDATE, "failed", "guard", False),
        (CANDIDATE, "succeeded", "", False),
        (CANDIDATE, "cancelled", "", False),
    ],
)
def test_what_was_paid_for_stays(
    artifacts: Artifacts, tmp_path: Path, stored: str, state: str, cause: str, is_kept: bool
):
    assert list_kept(artifacts, tmp_path, stored, state, cause) == ([stored] if is_kept else [])
