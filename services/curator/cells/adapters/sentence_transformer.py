"""A sentence-transformers model from a folder; needs that library and torch, which the images do not hold."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from importlib import import_module
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
        # No dependency of ours: whoever sets a folder installs it beside.
        library = import_module("sentence_transformers")
        return library.SentenceTransformer(str(self._folder), device="cpu")
