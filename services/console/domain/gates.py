"""A gate of an evaluation, drawn: its interval against the stretch in which it passes."""

from dataclasses import dataclass
from typing import Any

WIDTH, MARGIN = 300.0, 8.0
SHARES = ("win_rate", "length_controlled_win_rate")


@dataclass(frozen=True)
class GatePicture:
    """Places in 0 to `WIDTH`."""

    at: float
    low: float
    high: float
    allowed_from: float
    allowed_to: float
    start: float
    end: float


def draw_gate(gate: dict[str, Any]) -> GatePicture | None:
    """Place a gate's effect and interval; None for a gate without an effect."""
    effect = gate.get("effect")
    if effect is None:
        return None
    low, high = (effect if gate.get(side) is None else gate[side] for side in ("low", "high"))
    floor, ceiling = 0.5 if gate["name"] in SHARES else gate.get("floor"), gate.get("ceiling")
    start, end = (0.0, 1.0) if gate["name"] in SHARES else _choose_scale([low, high, effect, floor, ceiling])

    def place(value: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (min(max(value, start), end) - start) / (end - start)

    allowed = place(start if floor is None else floor), place(end if ceiling is None else ceiling)
    return GatePicture(place(effect), place(low), place(high), *allowed, start, end)


def _choose_scale(values: list[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    start, end = min(0.0, *known), max(0.0, *known)
    room = (end - start) * 0.1 or 0.1
    return start - room * (start < 0), end + room
