"""The approval rate before and after, on the same prompts, with a paired interval."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class PairedApproval:
    """One held-out prompt: whether the old and the new champion's answers are approved of."""

    template: str
    before: bool
    after: bool


@dataclass(frozen=True)
class Rise:
    """Approval rates in [0, 1] over `n` prompts; `low` is the lower end of the rise's 95% interval."""

    before: float
    after: float
    n: int
    low: float

    @property
    def value(self) -> float:
        return self.after - self.before


def calculate_rise(results: Sequence[PairedApproval], *, confidence: float = 0.95) -> Rise:
    """The rise with a two-sided t interval over templates.

    Prompts of one template move together, so the template is the unit: the mean of its prompts' differences, and
    Student's t with (templates - 1) degrees of freedom.

    Raises:
        ValueError: fewer than two templates.
    """
    differences = defaultdict(list)
    for result in results:
        differences[result.template].append(float(result.after) - float(result.before))
    if len(differences) < 2:
        raise ValueError("a paired interval needs prompts of at least two templates")
    means = np.array([np.mean(values) for values in differences.values()])
    spread = float(means.std(ddof=1) / np.sqrt(len(means)))
    quantile = float(stats.t.ppf((1 + confidence) / 2, len(means) - 1))
    before = float(np.mean([result.before for result in results]))
    after = float(np.mean([result.after for result in results]))
    return Rise(before=before, after=after, n=len(results), low=float(means.mean()) - quantile * spread)
