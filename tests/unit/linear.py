"""Whether a function's cost grows with its input and not faster, by CPU time."""

import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")
QUICK_SECONDS = 0.02


def measure(run: Callable[[Input], object], given: Input) -> float:
    began = time.process_time()
    run(given)
    return time.process_time() - began


def is_linear(run: Callable[[Input], object], small: Input, large: Input) -> bool:
    """Tell whether four times the input costs less than nine times the CPU (quadratic: sixteen), or next to nothing."""
    if measure(run, large) < QUICK_SECONDS:
        return True
    return any(measure(run, large) / max(measure(run, small), 1e-4) < 9 for _ in range(4))
