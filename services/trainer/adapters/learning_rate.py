"""The learning rate of a run that is under way."""

import math
from typing import Any


def count_halvings(scheduler: Any, initial: float) -> int:
    """How often the learning rate was halved since it was `initial`; a checkpoint's scheduler still knows."""
    return round(math.log2(initial / scheduler.base_lrs[0]))


def halve_learning_rate(scheduler: Any, initial: float, halvings: int) -> None:
    """Have the schedule go on as if it had begun at `initial`, halved this often."""
    base = initial * 0.5**halvings
    for group in scheduler.optimizer.param_groups:
        group["lr"] *= base / scheduler.base_lrs[0]
        group["initial_lr"] = base
    scheduler.base_lrs = [base] * len(scheduler.base_lrs)
