"""What models said before, in files: one for each model and way of asking, so that nothing is generated twice.

A line is written and synced as soon as its answer is there. A process that is killed leaves half a line at the most,
which is left out when the file is read again.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec


@dataclass
class KeptReplies:
    """One file of entries by key: `identity` says what they are of and stands in the file's first line."""

    path: Path
    entries: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, Any]) -> "KeptReplies":
        """Open the file of this identity in a folder; both are made where they are not there yet."""
        canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False)
        path = folder / f"{hashlib.sha256(canonical.encode()).hexdigest()[:32]}.jsonl"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _append(path, json.dumps({"identity": identity}, sort_keys=True, ensure_ascii=False).encode())
        return cls(path, _read(path))

    def add(self, entries: Mapping[str, Any]) -> None:
        """Keep entries, whole or not at all each."""
        if entries:
            lines = [msgspec.json.encode({"key": key, "value": value}) for key, value in entries.items()]
            _append(self.path, b"\n".join(lines))
            self.entries |= msgspec.to_builtins(dict(entries))


def _append(path: Path, line: bytes) -> None:
    path.touch(mode=0o600)
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        torn = b""
        if size:
            file.seek(size - 1)
            torn = b"" if file.read(1) == b"\n" else b"\n"
        file.write(torn + line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in path.read_bytes().splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue  # a process was killed while it wrote
        if isinstance(content, dict) and "key" in content:
            found[content["key"]] = content["value"]
    return found
