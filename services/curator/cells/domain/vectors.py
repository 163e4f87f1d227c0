"""Embeddings as arrays: mixed over the turns of a conversation, stored, and compared."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""(n, d), a row a text."""

ROWS_AT_ONCE = 2_048
DIGITS = 4
"""Similarities are rounded, so that the order of a processor's sums decides nothing."""


def normalize(vectors: Vectors) -> Vectors:
    """Scale every row to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


def mix(vectors: Vectors, weights: Sequence[float], sizes: Sequence[int]) -> Vectors:
    """Mix runs of rows, each of the given size, by weight: (sum of sizes, d) to (len(sizes), d), rows of length 1."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    mixed = np.zeros((len(sizes), vectors.shape[1]), dtype=np.float32)
    np.add.at(mixed, owner, vectors * np.asarray(weights, dtype=np.float32)[:, None])
    return normalize(mixed)


def pack(vectors: Vectors) -> list[bytes]:
    """Pack rows as they are stored: half precision, little endian."""
    return [row.tobytes() for row in vectors.astype("<f2")]


def unpack(rows: Sequence[bytes]) -> Vectors:
    """Unpack stored rows of one length: (n, d), or (0, 0) of none."""
    if not rows:
        return np.zeros((0, 0), dtype=np.float32)
    return np.frombuffer(b"".join(rows), dtype="<f2").reshape(len(rows), -1).astype(np.float32)


def compare(ones: Vectors, others: Vectors) -> Iterator[tuple[int, Vectors]]:
    """Compare every row with every other row, a block at a time: (where the block starts, its cosines), rounded."""
    for start in range(0, len(ones), ROWS_AT_ONCE):
        yield start, np.round(ones[start : start + ROWS_AT_ONCE] @ others.T, DIGITS)


def find_nearest(ones: Vectors, others: Vectors) -> Vectors:
    """Find each row's similarity to the nearest of the others: (n,); -1 where there is none."""
    nearest = np.full(len(ones), -1.0, dtype=np.float32)
    if len(others):
        for start, similarities in compare(ones, others):
            nearest[start : start + len(similarities)] = similarities.max(axis=1)
    return nearest
