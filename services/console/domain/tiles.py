"""A guardrail as a tile: how far the canary is from the champion, how sure that is, and how far from acting."""

from dataclasses import dataclass
from math import log, sqrt
from typing import Any

Z95 = 1.959964
WIDTH, MIDDLE, MARGIN = 300.0, 150.0, 6.0
LEAST_SCALE = 0.02
TITLES = {
    "outcome": "What users made of it",
    "errors": "Answers without errors",
    "latency": "Answers in time",
    "harmful_complaints": "No harmful complaints",
    "response_rate": "Users who react",
    "sample_ratio": "Share of users",
}


@dataclass(frozen=True)
class Tile:
    """Places are in the picture's units, 0 to `WIDTH`; zero difference is in the middle, better to the right."""

    name: str
    title: str
    action: str
    champion: float | None
    canary: float | None
    difference: float | None
    reach: float | None
    """Half of an interval of about 95%, never narrower than the true one; None where it is not known."""
    scale: float
    at: float
    low: float
    high: float
    bound: float | None
    evidence: float
    """Of what it takes to act, in [0, 1], on the scale of the logarithm."""
    e_value: float
    acts_at: float
    is_breached: bool
    is_neutral: bool
    """More is neither better nor worse."""


def derive_tiles(evidence: dict[str, Any], outcomes: int) -> list[Tile]:
    """Return a tile for each guardrail; `outcomes`: users of the stage whose outcome is known."""
    users = evidence.get("users") or {}
    exposed = sum(users.values())
    known = {arm: outcomes * count / exposed if exposed else 0.0 for arm, count in users.items()}
    delta = evidence.get("delta")
    return [_derive_tile(each, users, known, delta) for each in evidence.get("guardrails") or []]


def _derive_tile(each: dict[str, Any], users: dict[str, int], known: dict[str, float], delta: float | None) -> Tile:
    name, champion, canary = each["name"], each["champion"], each["canary"]
    is_known = champion is not None and canary is not None
    difference = canary - champion if is_known else None
    reach = _calculate_reach(name, champion, canary, users, known) if is_known else None
    bound = -delta if name == "outcome" and delta else None
    scale = _choose_scale(difference, reach, bound)
    shown = difference or 0.0
    return Tile(
        name=name,
        title=TITLES.get(name, name.replace("_", " ")),
        action=each["action"],
        champion=champion,
        canary=canary,
        difference=difference,
        reach=reach,
        scale=scale,
        at=_place(shown, scale),
        low=_place(shown - (reach or 0.0), scale),
        high=_place(shown + (reach or 0.0), scale),
        bound=None if bound is None else _place(bound, scale),
        evidence=calculate_progress(each["e_value"], each["acts_at"]),
        e_value=each["e_value"],
        acts_at=each["acts_at"],
        is_breached=each["is_breached"],
        is_neutral=name == "sample_ratio",
    )


def calculate_progress(e_value: float, acts_at: float) -> float:
    """Return how much of the evidence is there that it takes to act, in [0, 1]."""
    if e_value <= 1 or acts_at <= 1:
        return 0.0 if e_value < acts_at else 1.0
    return min(1.0, log(e_value) / log(acts_at))


def _calculate_reach(
    name: str, champion: float, canary: float, users: dict[str, int], known: dict[str, float]
) -> float | None:
    """Return z times the standard error of the difference, each variance at the most that its mean allows."""
    if name == "latency":  # tested on some users only
        return None
    if name == "sample_ratio":
        exposed = sum(users.values())
        return Z95 * sqrt(champion * (1 - champion) / exposed) if exposed and 0 < champion < 1 else None
    if min(known.get("champion", 0), known.get("canary", 0)) < 1:
        return None
    parts = ((champion, known["champion"]), (canary, known["canary"]))
    return Z95 * sqrt(sum((mean * (1 - mean) + 1 / (count + 1)) / count for mean, count in parts))


def _choose_scale(difference: float | None, reach: float | None, bound: float | None) -> float:
    farthest = max(abs(difference or 0.0) + (reach or 0.0), abs(bound or 0.0), LEAST_SCALE)
    return min(1.0, 1.1 * farthest)


def _place(value: float, scale: float) -> float:
    bounded = min(max(value / scale, -1.0), 1.0)
    return MIDDLE + bounded * (MIDDLE - MARGIN)
