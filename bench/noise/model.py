"""The small preference model that judges a dataset: ridge logistic regression over words, fitted by Newton's method.

Not the curator's own model: it sees every word by itself, and nothing is hashed.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.noise.world import WORDS, Item

RIDGE = 1.0
STEPS = 20
_COLUMNS = {word: at for at, word in enumerate(WORDS)}

Rows = Sequence[tuple[str, str, float]]
"""(preferred, over what, weight)."""
Floats = npt.NDArray[np.float64]


def measure_accuracy(rows: Rows, held_out: Sequence[Item]) -> float:
    """Share of held-out items whose better answer the model prefers, once trained on the rows."""
    worth = _fit(rows)
    return float(np.mean([_contrast(item.better, item.worse) @ worth > 0 for item in held_out]))


def _fit(rows: Rows) -> Floats:
    features = np.array([_contrast(one, other) for one, other, _ in rows])
    weights = np.array([weight for *_, weight in rows])
    weights = weights / weights.mean()
    worth = np.zeros(len(WORDS))
    for _ in range(STEPS):
        doubt = 1 / (1 + np.exp(np.clip(features @ worth, -30, 30)))
        gradient = features.T @ (weights * doubt) - RIDGE * worth
        curvature = (features * (weights * doubt * (1 - doubt))[:, None]).T @ features + RIDGE * np.eye(len(worth))
        worth = worth + np.linalg.solve(curvature, gradient)
    return worth


def _contrast(one: str, other: str) -> Floats:
    row = np.zeros(len(WORDS))
    for text, sign in ((one, 1.0), (other, -1.0)):
        for word in text.split():
            row[_COLUMNS[word]] += sign
    return row
