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
    """Return the rise with a two-sided t interval over templates.

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


def calculate_rate(results: Sequence[tuple[str, bool]], *, confidence: float = 0.95) -> Rate:
    """Return the rate over (template, approved) with Korn and Graubard's interval for clustered samples (Survey
    Methodology 24, 1998): Clopper and Pearson's for as many independent prompts as would vary as much.

    Prompts of one template move together, so they count for fewer than they are. Where all say the same, no variance
    can be estimated: then each template counts once. Near 0 and 1 a t interval over templates covers too little.

    Raises:
        ValueError: fewer than two templates.
    """
    liked: dict[str, list[bool]] = defaultdict(list)
    for template, approved in results:
        liked[template].append(approved)
    if len(liked) < 2:
        raise ValueError("an interval needs prompts of at least two templates")
    n, templates = len(results), len(liked)
    value = sum(approved for _, approved in results) / n
    residuals = np.array([sum(each) - value * len(each) for each in liked.values()])
    variance = templates / (templates - 1) * float((residuals**2).sum()) / n**2
    tail = (1 - confidence) / 2
    ratio = float(stats.t.ppf(tail, n - 1) / stats.t.ppf(tail, templates - 1)) ** 2
    effective = min(float(n), value * (1 - value) / variance * ratio) if variance > 0 else float(templates)
    hits = value * effective
    low = float(stats.beta.ppf(tail, hits, effective - hits + 1)) if value > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, effective - hits)) if value < 1 else 1.0
    return Rate(value=value, n=n, low=low, high=high)
