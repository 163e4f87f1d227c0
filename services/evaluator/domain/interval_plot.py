"""A gate's interval drawn against where it has to lie, as SVG."""

from typing import Any

WIDTH, HEIGHT, MARGIN = 320, 40, 12
HALF_GATES = ("win_rate", "length_controlled_win_rate")


def draw_interval(gate: dict[str, Any]) -> str:
    """Draw a gate's effect and interval over the stretch in which it passes; nothing without an effect."""
    effect = gate.get("effect")
    if effect is None:
        return ""
    low, high = (effect if gate.get(side) is None else gate[side] for side in ("low", "high"))
    floor, ceiling = _find_allowed(gate)
    start, end = _find_scale([low, high, effect, floor, ceiling], is_share=gate["name"] in HALF_GATES)

    def place(value: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (min(max(value, start), end) - start) / (end - start)

    left, right = place(start if floor is None else floor), place(end if ceiling is None else ceiling)
    told = f"{effect:.3g}, interval {low:.3g} to {high:.3g}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">'
        f'<rect class="allowed" x="{left:.1f}" y="4" width="{max(1.0, right - left):.1f}" height="18"/>'
        f'<line x1="{place(low):.1f}" x2="{place(high):.1f}" y1="13" y2="13"/>'
        f'<circle cx="{place(effect):.1f}" cy="13" r="4"/>'
        f'<text x="{MARGIN}" y="36">{start:.3g}</text>'
        f'<text x="{WIDTH - MARGIN}" y="36" text-anchor="end">{end:.3g}</text></svg>'
    )


def _find_allowed(gate: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return the stretch within which the gate passes; None: no bound on that side."""
    floor, ceiling = gate.get("floor"), gate.get("ceiling")
    return (0.5 if gate["name"] in HALF_GATES else floor), ceiling


def _find_scale(values: list[float | None], *, is_share: bool) -> tuple[float, float]:
    if is_share:
        return 0.0, 1.0
    known = [value for value in values if value is not None]
    start, end = min(0.0, *known), max(0.0, *known)
    room = (end - start) * 0.1 or 0.1
    return start - room * (start < 0), end + room
