"""The small preference model that judges a dataset: ridge logistic regression over words, fitted by Newton's method.

Not the curator's own model: it sees every word by itself, and nothing is hashed.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from bench.noise.world import WORDS, Item

RIDGE = 1.0
STEPS = 20

Rows = Sequence[tuple[str, str, float]]
"""(preferred, over what, weight)."""
Floats = npt.NDArray[np.float64]


def measure_accuracy(
    rows: Rows,
    held_out: Sequence[Item],
    split: Callable[[str], Iterable[str]] = str.split,
    words: Sequence[str] = WORDS,
) -> float:
    """Share of held-out items whose better answer the model prefers, once trained on the rows.

    `split` says which of `words` a text holds.
    """
    columns = {word: at for at, word in enumerate(words)}

    def contrast(one: str, other: str) -> Floats:
        row = np.zeros(len(columns))
        for text, sign in ((one, 1.0), (other, -1.0)):
            for word in split(text):
                row[columns[word]] += sign
        return row

    worth = _fit(np.array([contrast(one, other) for one, other, _ in rows]), np.array([weight for *_, weight in rows]))
    return float(np.mean([contrast(item.better, item.worse) @ worth > 0 for item in held_out]))


def _fit(features: Floats, weights: Floats) -> Floats:
    weights = weights / weights.mean()
    worth = np.zeros(features.shape[1])
    for _ in range(STEPS):
        doubt = 1 / (1 + np.exp(np.clip(features @ worth, -30, 30)))
        gradient = features.T @ (weights * doubt) - RIDGE * worth
        curvature = (features * (weights * doubt * (1 - doubt))[:, None]).T @ features + RIDGE * np.eye(len(worth))
        worth = worth + np.linalg.solve(curvature, gradient)
    return worth
