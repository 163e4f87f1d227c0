"""Files that another process wrote, and the hashes they are known by."""

import hashlib
from pathlib import Path

from shared.artifacts.errors import ArtifactCorrupt
from shared.artifacts.models import ADAPTER, is_adapter
from shared.errors import NotFound

CHUNK_BYTES = 1 << 20


class WeightsNotFound(NotFound):
    title = "Weights not found"


def calculate_weights_sha256(folder: Path) -> str:
    """Return the SHA-256 (hex) over a model's safetensors files, or its adapter's, in the order of their names.

    Raises:
        WeightsNotFound: the folder holds no safetensors file.
    """
    files = sorted((folder / ADAPTER if is_adapter(folder) else folder).glob("*.safetensors"))
    if not files:
        raise WeightsNotFound(f"no safetensors file in {folder}")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def check_weights(folder: Path, weights_sha256: str | None) -> None:
    """Hold a model's weights against their hash, if it is known: what was made by hand has no manifest.

    Raises:
        ArtifactCorrupt: they are others.
        WeightsNotFound: as `calculate_weights_sha256`.
    """
    if weights_sha256 is not None and calculate_weights_sha256(folder) != weights_sha256:
        raise ArtifactCorrupt(f"the weights in {folder} are not those that were registered")
