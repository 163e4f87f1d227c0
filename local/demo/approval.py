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
class Rate:
    """An approval rate in [0, 1] over `n` prompts, with a 95% interval."""

    value: float
    n: int
    low: float
    high: float


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
    differences = [(result.template, float(result.after) - float(result.before)) for result in results]
    middle, half_width = _measure_over_templates(differences, confidence)
    before = float(np.mean([result.before for result in results]))
    after = float(np.mean([result.after for result in results]))
    return Rise(before=before, after=after, n=len(results), low=middle - half_width)


def calculate_rate(results: Sequence[tuple[str, bool]], *, confidence: float = 0.95) -> Rate:
    """The approval rate of (template, approved) with the same interval over templates, kept within [0, 1].

    Raises:
        ValueError: fewer than two templates.
    """
    middle, half_width = _measure_over_templates([(name, float(liked)) for name, liked in results], confidence)
    value = float(np.mean([liked for _, liked in results]))
    return Rate(value=value, n=len(results), low=max(0.0, middle - half_width), high=min(1.0, middle + half_width))


def _measure_over_templates(results: Sequence[tuple[str, float]], confidence: float) -> tuple[float, float]:
    """The mean of the templates' means, and half the width of its interval."""
    by_template = defaultdict(list)
    for template, value in results:
        by_template[template].append(value)
    if len(by_template) < 2:
        raise ValueError("an interval needs prompts of at least two templates")
    means = np.array([np.mean(values) for values in by_template.values()])
    spread = float(means.std(ddof=1) / np.sqrt(len(means)))
    return float(means.mean()), float(stats.t.ppf((1 + confidence) / 2, len(means) - 1)) * spread
