"""Numbers and times as people read them: with their unit, in the reader's own order of size."""

from datetime import datetime, timedelta
from math import sqrt

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
Z95 = 1.959964


def tell_duration(seconds: float | None) -> str:
    """Return a time such as `3 min` or `2 d 4 h`; an unknown one as `never`."""
    if seconds is None:
        return "never"
    rest = max(0, round(seconds))
    parts = []
    for size, unit in UNITS:
        if rest >= size:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2]) or f"{rest} s"


def tell_age(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was."""
    return "not yet" if at is None else f"{tell_duration((now - at).total_seconds())} ago"


def tell_percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f}%".replace(".0%", "%")


def tell_number(value: object) -> str:
    """Return a number with thousands divided, at four digits; what is no number as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def tell_count(count: int, cap: int) -> str:
    """Return a count that was stopped at `cap`."""
    return f"more than {cap:,}" if count > cap else f"{count:,}"


def calculate_share_interval(ups: int, votes: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share; `votes` at least 1."""
    share, z = ups / votes, Z95
    middle = (share + z * z / (2 * votes)) / (1 + z * z / votes)
    reach = z / (1 + z * z / votes) * sqrt(share * (1 - share) / votes + z * z / (4 * votes * votes))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def is_recent(at: datetime | None, now: datetime, seconds: float) -> bool:
    return at is not None and now - at <= timedelta(seconds=seconds)
