"""What embeds texts, for cells and for nearness to the gate."""

from collections.abc import Sequence
from typing import Protocol

from services.curator.cells.domain.vectors import Vectors


class Embedder(Protocol):
    @property
    def version(self) -> str:
        """Name what the vectors are made with; other vectors, other cells."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: (n, d) float32, each row of length 1, or 0 for a text that says nothing.

        Raises:
            Unavailable: the embedder cannot be reached.
        """
