"""A sentence-transformers model from a folder; needs torch, so it is imported when it is asked for."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from services.curator.cells.domain.vectors import Vectors, normalize

BATCH = 64
READ_BYTES = 1 << 20


class SentenceTransformerEmbedder:
    """Named for what the folder's files are, not for where they lie."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def version(self) -> str:
        digest = sha256()
        for file in sorted(self._folder.rglob("*")):
            if file.is_file():
                digest.update(file.relative_to(self._folder).as_posix().encode())
                with file.open("rb") as opened:
                    while block := opened.read(READ_BYTES):
                        digest.update(block)
        return f"st-{digest.hexdigest()[:12]}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return normalize(np.asarray(self._model.encode(list(texts), batch_size=BATCH), dtype=np.float32))

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(self._folder), device="cpu")
