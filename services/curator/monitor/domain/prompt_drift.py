"""Prompt drift: what users ask is no longer what they asked when the champion was trained.

The maximum mean discrepancy (Gretton et al. 2012) of a window's prompts from a reference window's, one prompt a user,
under a Gaussian kernel whose width is the median distance. Its p-value comes from permuting users between the two, all
permutations in a few matrix products, and adds to the evidence across windows (`evidence`).

The reference is the first cycle of windows after the promotion (a week of days): each window is held against the one
of its own place in the cycle, so that days of the week are like with like, and windows in a row have references of
their own. Whoever asks in both makes them more alike, so that regulars with a topic of their own lower the evidence.

A change smaller than the floor adds nothing, however sure: it is not worth retraining for.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.curator.monitor.domain.evidence import calibrate

Vectors = npt.NDArray[np.float32]
"""(n, d), rows of length 1."""
FloatArray = npt.NDArray[np.float64]

PERMUTATIONS = 499
LEAST_PROMPTS = 50
"""Of each side."""
PICTURED = 150
"""Points of each side in the picture."""


@dataclass(frozen=True)
class PromptRules:
    window: timedelta
    cycle: int
    """Windows of the reference: as many as days in a week, if a window is a day."""
    most: int
    """Prompts of a window that are looked at."""
    least_effect: float

    @property
    def days(self) -> float:
        return self.window / timedelta(days=1)


@dataclass(frozen=True)
class Shift:
    """How far a window's prompts lie from the reference's.

    `effect` is the distance of the two means, as a share of how far prompts lie from their mean: 0 to about 1.4.
    """

    state: Literal["compared", "unmeasurable"]
    effect: float | None
    p_value: float | None
    e_value: float
    """1 where nothing could be compared."""


def compare_prompts(reference: Vectors, window: Vectors, rules: PromptRules, rng: np.random.Generator) -> Shift:
    """Compare a window's prompts with the reference's."""
    if min(len(reference), len(window)) < LEAST_PROMPTS:
        return Shift("unmeasurable", None, None, 1.0)
    kernel = calculate_kernel(np.concatenate([reference, window]))
    found, permuted = permute(kernel, len(reference), PERMUTATIONS, rng)
    p_value = float((1 + (permuted >= found - 1e-12).sum()) / (PERMUTATIONS + 1))
    effect = measure_effect(kernel, found)
    e_value = calibrate(p_value)
    return Shift("compared", effect, p_value, e_value if effect >= rules.least_effect else min(e_value, 1.0))


def calculate_kernel(points: Vectors) -> FloatArray:
    """Calculate the Gaussian kernel of unit vectors: (n, n), its width the median distance."""
    squares = np.maximum(2 - 2 * (points @ points.T).astype(np.float64), 0)
    width = np.median(squares[np.triu_indices(len(points), 1)])
    kernel: FloatArray = np.exp(-squares / (width or 1.0))
    np.fill_diagonal(kernel, 0)
    return kernel


def permute(kernel: FloatArray, n: int, permutations: int, rng: np.random.Generator) -> tuple[float, FloatArray]:
    """Calculate the unbiased squared MMD of the first n points from the others, and that of random divisions.

    Args:
        kernel: (N, N), its diagonal 0.
        n: points of the first side.
    """
    total = len(kernel)
    order = np.argsort(rng.random((permutations, total)), axis=1)
    sides = np.vstack([np.arange(total) < n, order < n]).astype(np.float32)
    of_first = np.einsum("ij,ij->i", sides @ kernel.astype(np.float32), sides, dtype=np.float64)
    of_both = sides @ kernel.sum(axis=1) - of_first
    of_second = kernel.sum() - of_first - 2 * of_both
    m = total - n
    found = of_first / (n * (n - 1)) + of_second / (m * (m - 1)) - 2 * of_both / (n * m)
    return float(found[0]), found[1:]


def measure_effect(kernel: FloatArray, squared: float) -> float:
    """Measure the distance of the means as a share of the prompts' own distance from theirs."""
    total = len(kernel)
    spread = 1 - kernel.sum() / (total * (total - 1))
    return float(np.sqrt(max(squared, 0.0) / spread)) if spread > 0 else 0.0


def draw_picture(reference: Vectors, window: Vectors) -> dict[str, list[list[float]]]:
    """Draw up to so many points of each side in the plane in which all of them spread most: lists of [x, y]."""
    sides = {"reference": reference[:PICTURED], "window": window[:PICTURED]}
    points = np.concatenate(list(sides.values())).astype(np.float64)
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    plane = np.round((points - points.mean(axis=0)) @ axes[:2].T, 3)
    split = len(sides["reference"])
    return {"reference": plane[:split].tolist(), "window": plane[split:].tolist()}
