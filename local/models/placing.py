"""Place a base model where a vLLM reads it, with the sums that each of its starts is held against."""

import hashlib
import re
import shutil
from pathlib import Path

from shared.artifacts import ArtifactCorrupt

SUMS = "SHA256SUMS"
PLAIN = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)*")
"""Names that every `sha256sum` writes and reads as they are."""


def place_model(source: Path, target: Path) -> str:
    """Copy a model's files into a folder that is not there yet; return the SHA-256 of its SHA256SUMS.

    Raises:
        ArtifactCorrupt: a file's name is nothing that sums can list.
    """
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    if strange := [name for name in names if not PLAIN.fullmatch(name) or name == SUMS]:
        raise ArtifactCorrupt(f"{strange[0]!r} in {source} is no name for a model's file")
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    for name in names:
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, draft / name)
    sums = "".join(f"{_hash_file(draft / name)}  {name}\n" for name in names)
    (draft / SUMS).write_text(sums)
    draft.rename(target)
    return hashlib.sha256(sums.encode()).hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
