"""Axes: from values to places in a drawing, and the ticks between."""

import math
from dataclasses import dataclass

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to [start, end]; logarithmic ones want positive values. What lies outside is put on the edge."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def choose_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Round numbers within [low, high], at most `most` of them."""
    span = high - low
    magnitude = 10.0 ** math.floor(math.log10(span / most))
    step = next(each * magnitude for each in STEPS if span / (each * magnitude) < most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def choose_powers(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return powers of ten within [low, high]."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / most))
    return [10.0**power for power in range(first, last + 1, step)]


def tell_number(value: float) -> str:
    """Write it as a tick does: 0.25, 40, 1,000, 2e-05."""
    if value and abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def tell_power(value: float) -> str:
    """Write it as a logarithmic axis does: 0.1, 1, 100, 10⁴."""
    if 0.01 <= value <= 1_000:
        return tell_number(value)
    return f"10{str(round(math.log10(value))).translate(_SUPERSCRIPTS)}"


def tell_percent(value: float) -> str:
    return f"{value:.0%}"


def tell_seconds(value: float) -> str:
    """Write it as 0:07 or 12:40."""
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes}:{seconds:02d}"
