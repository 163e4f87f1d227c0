"""Fetched artifacts on this machine's disk, by the hash of their content."""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from shared.artifacts.errors import ArtifactCorrupt, ArtifactTooLarge
from shared.artifacts.manifest import Files, calculate_content_sha256, verify_files

logger = structlog.get_logger(__name__)

DRAFT = ".draft-"
DRAFT_SECONDS = 86_400.0
LOCK = ".lock"
KEY = re.compile(r"[0-9a-f]{64}")
"""Of an artifact's folder; what else lies beside them is not ours to remove."""


class Cache:
    """A folder per artifact, complete or not there. Processes may share it.

    What a process has fetched stays until that process ends: it holds a shared lock, and only what nobody holds gives
    way when there is no room, the longest unused first.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._held: dict[str, int] = {}

    def fetch(self, files: Files, download: Callable[[Path], None]) -> Path:
        """Return the folder of these files, verified; downloaded unless it is there, or anew if it was changed there.

        Raises:
            ArtifactTooLarge: it exceeds the cache, or what others hold leaves no room.
            ArtifactCorrupt: what came is not what the manifest lists.
        """
        key = calculate_content_sha256(files)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hold(key)
        folder = self._folder / key
        if folder.exists() and not _is_intact(folder, files):
            _put_away(folder)
        if not folder.exists():
            self._make_room(sum(entry.bytes for entry in files.values()))
            self._fill(folder, files, download)
        os.utime(folder)
        return folder

    def drop(self, folder: Path) -> None:
        """Let go of a folder of this cache and delete it, unless another process holds it."""
        if folder.parent == self._folder and (lock := self._held.pop(folder.name, None)) is not None:
            os.close(lock)
            self._remove(folder)

    def drop_unused(self, file: str) -> None:
        """Delete every folder with such a file that nobody holds, and drafts that nobody can be filling any more."""
        for folder in self._list_folders() if self._folder.exists() else []:
            if (folder / file).exists():
                self._remove(folder)
        for draft in self._folder.glob(f"{DRAFT}*"):
            if time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)

    def close(self) -> None:
        """Hold nothing any more: what was fetched may go."""
        for lock in self._held.values():
            os.close(lock)
        self._held.clear()

    def _hold(self, key: str) -> None:
        if key not in self._held:
            self._held[key] = os.open(self._folder / f"{key}{LOCK}", os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(self._held[key], fcntl.LOCK_SH)

    def _fill(self, folder: Path, files: Files, download: Callable[[Path], None]) -> None:
        """Download beside the place and move there whole; who comes second finds the first one's folder."""
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=self._folder))
        try:
            download(draft)
            verify_files(draft, files)
            draft.chmod(0o755)
            draft.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _make_room(self, needed: int) -> None:
        if needed > self._max_bytes:
            raise ArtifactTooLarge(f"{needed:,} bytes do not fit into a cache of {self._max_bytes:,}")
        kept = sorted(self._list_folders(), key=lambda folder: folder.stat().st_mtime)
        sizes = {folder: _measure(folder) for folder in kept}
        while sum(sizes.values()) + needed > self._max_bytes or shutil.disk_usage(self._folder).free < needed:
            unused = next((folder for folder in kept if self._remove(folder)), None)
            if unused is None:
                raise ArtifactTooLarge(f"{needed:,} bytes are needed, and all that is cached is in use")
            kept.remove(unused)
            del sizes[unused]

    def _list_folders(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.is_dir() and KEY.fullmatch(path.name)]

    def _remove(self, folder: Path) -> bool:
        """Whether nobody held it and it is gone."""
        if folder.name in self._held:
            return False
        lock = os.open(self._folder / f"{folder.name}{LOCK}", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _put_away(folder)
            return True
        except OSError:
            return False
        finally:
            os.close(lock)


def _is_intact(folder: Path, files: Files) -> bool:
    try:
        verify_files(folder, files)
    except ArtifactCorrupt as error:
        logger.error("cached_artifact_changed", reason=error.detail)
        return False
    return True


def _put_away(folder: Path) -> None:
    """Take a folder away at once, whole: nobody finds half of it."""
    leaving = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder.parent)) / folder.name
    folder.rename(leaving)
    shutil.rmtree(leaving.parent, ignore_errors=True)


def _measure(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
