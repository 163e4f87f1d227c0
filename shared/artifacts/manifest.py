"""The manifest of an artifact: which files it holds, each by size and SHA-256."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shared.artifacts.errors import ArtifactCorrupt, ArtifactNotFound

NAME = "manifest.json"
FILES = "files"
CHUNK_BYTES = 1 << 20
MAX_BYTES = 64 << 20
"""A manifest above this is not read: it came from somebody who means harm, or is no manifest."""


@dataclass(frozen=True)
class FileEntry:
    sha256: str
    bytes: int


Files = dict[str, FileEntry]
"""By path inside the artifact, with forward slashes; the manifest itself is not among them."""
Note = Callable[[str], dict[str, Any]]
"""What else a manifest says, by the hash that its artifact is known by."""


def describe_files(folder: Path) -> Files:
    """Hash every file of a folder but its manifest.

    Raises:
        ArtifactCorrupt: a link, or something that is neither file nor folder.
    """
    files: Files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ArtifactCorrupt(f"{name} in {folder} is neither a file nor a folder")
        if path.is_file() and name != NAME:
            files[name] = FileEntry(_hash_file(path), path.stat().st_size)
    return files


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, note: Note | None = None) -> Files:
    """Write the folder's files, and a note on them, into its manifest; what else a manifest holds stays."""
    files = describe_files(folder)
    path = folder / NAME
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    content |= note(calculate_content_sha256(files)) if note else {}
    content[FILES] = {name: asdict(entry) for name, entry in files.items()}
    draft = folder / f".{NAME}"
    draft.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
    draft.replace(path)
    return files


def read_manifest(text: bytes, where: str) -> Files:
    """Return the files that a manifest lists.

    Raises:
        ArtifactCorrupt: it is no manifest, lists no files, or names a path outside the artifact.
    """
    try:
        content: Any = json.loads(text)
        files = {
            str(name): FileEntry(str(entry["sha256"]), int(entry["bytes"])) for name, entry in content[FILES].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactCorrupt(f"the manifest of {where} does not say which files belong to it") from error
    if bad := [name for name in files if not _is_inside(name)]:
        raise ArtifactCorrupt(f"the manifest of {where} names a path outside it: {bad[0]!r}")
    return files


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    plain = not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
    return plain and "\\" not in name and "\0" not in name and name not in ("", ".", NAME)


def calculate_content_sha256(files: Files) -> str:
    """Return the SHA-256 (hex) that an artifact is known by: over the paths, hashes and sizes of its files."""
    content = {name: asdict(entry) for name, entry in files.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def verify_files(folder: Path, files: Files) -> None:
    """Hold a folder against its manifest.

    Raises:
        ArtifactCorrupt: a file is missing, is not the one that was listed, or nobody listed it.
    """
    found = describe_files(folder)
    for name, entry in files.items():
        if name not in found:
            raise ArtifactCorrupt(f"{name} is missing from {folder}")
        if found[name] != entry:
            raise ArtifactCorrupt(f"{name} in {folder} is not the file that its manifest lists")
    if strangers := sorted(found.keys() - files.keys()):
        raise ArtifactCorrupt(f"{strangers[0]} in {folder} is in no manifest")


def lists_files(folder: Path) -> bool:
    """Return whether a local folder's manifest says which files belong to it; False where there is no folder or
    manifest.
    """
    path = folder / NAME
    if not path.is_file():
        return False
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return True  # it is no manifest, and whoever loads it says so
    return not isinstance(content, dict) or FILES in content


def load_manifest(folder: Path) -> Files:
    """Read a local folder's manifest.

    Raises:
        ArtifactNotFound: it has none.
        ArtifactCorrupt: as `read_manifest`.
    """
    return read_manifest(_read_bounded(folder), str(folder))


def load_note(folder: Path, name: str) -> object:
    """Load what a local folder's manifest says beside its files under this name; None: nothing.

    Raises: as `load_manifest`.
    """
    try:
        content = json.loads(_read_bounded(folder))
    except (ValueError, RecursionError) as error:
        raise ArtifactCorrupt(f"the manifest of {folder} is not JSON") from error
    return content.get(name) if isinstance(content, dict) else None


def _read_bounded(folder: Path) -> bytes:
    path = folder / NAME
    if not path.is_file():
        raise ArtifactNotFound(f"{folder} has no {NAME}")
    if path.stat().st_size > MAX_BYTES:
        raise ArtifactCorrupt(f"the manifest of {folder} is larger than {MAX_BYTES} bytes")
    return path.read_bytes()
