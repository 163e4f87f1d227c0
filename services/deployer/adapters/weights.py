"""What a checkpoint's weights are, as a hash."""

import hashlib
from pathlib import Path

CHUNK = 1 << 20


def calculate_weights_sha256(folder: Path) -> str | None:
    """SHA-256 (hex) over the checkpoint's safetensors files in the order of their names; None without any."""
    files = sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest() if files else None
