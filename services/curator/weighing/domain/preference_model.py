"""A small preference model: the utility of an answer is linear in its words.

Logistic regression over hashed words, fitted by AdaGrad with a fixed number of full passes from zero.
Sums go through `numpy.bincount`, which adds in order, so that no BLAS decides the last digits.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from shared.conversation import derive_words

FEATURES = 4096
PASSES = 30
STEP = 0.5
RIDGE = 2.0
LONGEST_WORDS = 300

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matrix:
    """A sparse matrix, by its entries; `shape[0]` rows."""

    rows: Integers
    columns: Integers
    values: Floats
    height: int

    def select(self, wanted: npt.NDArray[np.bool_]) -> "Matrix":
        """Select the wanted rows, renumbered in order."""
        kept = wanted[self.rows]
        numbers = np.cumsum(wanted) - 1
        return Matrix(numbers[self.rows[kept]], self.columns[kept], self.values[kept], int(wanted.sum()))

    def multiply(self, weights: Floats) -> Floats:
        products: Floats = np.bincount(self.rows, self.values * weights[self.columns], self.height).astype(np.float64)
        return products


def build_matrix(rows: Sequence[tuple[str, str | None]]) -> Matrix:
    """Build a matrix; a row is the features of its first text, less those of its second if there is one."""
    known: dict[str, list[tuple[int, float]]] = {}

    def derive(text: str) -> list[tuple[int, float]]:
        if text not in known:
            known[text] = _derive_features(text)
        return known[text]

    numbers: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for number, (one, other) in enumerate(rows):
        features = dict(derive(one))
        for column, value in derive(other) if other is not None else ():
            features[column] = features.get(column, 0.0) - value
        for column, value in sorted(features.items()):
            if value:
                numbers.append(number)
                columns.append(column)
                values.append(value)
    return Matrix(np.array(numbers, np.int64), np.array(columns, np.int64), np.array(values, np.float64), len(rows))


@lru_cache(maxsize=100_000)
def _hash(word: str) -> tuple[int, float]:
    code = zlib.crc32(word.encode("utf-8", "surrogatepass"))
    return code % FEATURES, 1.0 if code & 0x8000_0000 else -1.0


def _derive_features(text: str) -> list[tuple[int, float]]:
    """Derive which words occur, by column; how often does not matter."""
    features: dict[int, float] = {}
    for word in sorted(set(derive_words(text)[:LONGEST_WORDS])):
        column, sign = _hash(word)
        features[column] = features.get(column, 0.0) + sign
    return sorted(features.items())


def fit(matrix: Matrix, signs: Floats, weights: Floats) -> Floats:
    """Fit feature weights: row i has utility above zero with the odds that `signs[i]` (1 or -1) says, as far as
    `weights[i]` vouches for it."""
    theta = np.zeros(FEATURES)
    squared = np.full(FEATURES, 1e-8)
    for _ in range(PASSES):
        pull = weights * signs * sigmoid(-signs * matrix.multiply(theta))
        gradient = RIDGE * theta - np.bincount(matrix.columns, matrix.values * pull[matrix.rows], FEATURES)
        squared += gradient * gradient
        theta = theta - STEP * gradient / np.sqrt(squared)
    return theta


def sigmoid(logits: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
