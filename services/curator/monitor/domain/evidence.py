"""Evidence that grows from window to window, counted in days, so that one budget holds for all detectors.

    M <- (M + days) * e

where e is the window's e-value: at most 1 on average, given the past, while nothing has changed (Shin, Ramdas & Rinaldo
2022, "E-detectors", arXiv:2203.03532; Shiryaev-Roberts form). Then M less the days that passed is a supermartingale,
and M reaches A after A days at least, on average.

Detectors share a budget of N days for one needless alarm: the one with share w alarms at N / w. The sum of w * M is of
the same form, so that the first alarm of any of them comes after N days at least, on average, however they depend on
one another.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SHARES: Mapping[str, float] = MappingProxyType({"prompt_drift": 0.5, "opinion": 0.5})
"""Of the budget. Whoever asks for another reason (volume, schedule, a person) makes no mistake of this kind."""
MOST = 100.0
"""Thresholds that evidence grows to at most: so an alarm lapses within a few windows once the cause is gone."""


@dataclass(frozen=True)
class Budget:
    """At most one needless alarm in so many days, on average, of all detectors together."""

    days: float

    def threshold(self, detector: str) -> float:
        """Return the evidence at which the detector alarms, in days."""
        return self.days / SHARES[detector]


def accumulate(evidence: FloatArray, e_values: FloatArray, days: float, threshold: float) -> FloatArray:
    """Add a window of so many days to the evidence of each alternative; both of one shape, of which the mean counts."""
    return np.minimum((evidence + days) * e_values, MOST * threshold)


def calibrate(p_value: float) -> float:
    """Turn a p-value into an e-value: 0.5 / sqrt(p) has the mean 1 when p is uniform (Vovk & Wang 2021)."""
    return 0.5 / math.sqrt(p_value)
