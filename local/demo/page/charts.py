"""Charts as numbers: what is to be drawn and where. `charts.html` draws them, in units of a 400 wide canvas."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from local.demo.page.scales import Scale, choose_powers, choose_ticks, tell_number

WIDTH = 400
HEIGHT = 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 34
STRIP_LEFT, STRIP_RIGHT = 6, 394

Point = Sequence[float]


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Limit:
    """A dashed line across the picture, named in the legend."""

    label: str
    value: float
    tone: str = "bad"
    at: float = 0.0


@dataclass(frozen=True)
class Whisker:
    x: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """`tone` names a colour of the style sheet; few points are `dots` too; `said` is for those who cannot see."""

    name: str
    tone: str
    path: str
    said: str
    dots: list[tuple[float, float]] = field(default_factory=list)
    whiskers: list[Whisker] = field(default_factory=list)


@dataclass(frozen=True)
class Band:
    x: float
    width: float
    label: str
    is_odd: bool


@dataclass(frozen=True)
class LineChart:
    title: str
    summary: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    limits: list[Limit]
    bands: list[Band]
    x_label: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Curve:
    """Points (x, y), in order of x, and for some x an interval (x, low, high)."""

    name: str
    tone: str
    points: Sequence[Point]
    intervals: Sequence[Point] = ()


def draw_lines(
    title: str,
    curves: Sequence[Curve],
    *,
    x_label: str,
    summary: str = "",
    limits: Sequence[Limit] = (),
    bands: Sequence[tuple[float, float, str]] = (),
    y_range: tuple[float, float] | None = None,
    is_log: bool = False,
    tell_y: Callable[[float], str] = tell_number,
    tell_x: Callable[[float], str] = tell_number,
    x_whole: bool = False,
) -> LineChart | None:
    """Draw lines; `limits` and `bands` are always within the picture. None without any point to draw."""
    if not any(curve.points for curve in curves):
        return None
    xs = [point[0] for curve in curves for point in curve.points] + [edge for band in bands for edge in band[:2]]
    ys = [value for curve in curves for point in (*curve.points, *curve.intervals) for value in point[1:]]
    x_scale = _stretch(min(xs), max(xs), LEFT, WIDTH - RIGHT, pad=0.06 if x_whole else 0.0)
    heights = [*ys, *(limit.value for limit in limits)]
    low, high = y_range or (min(heights), max(heights))
    y_scale = _choose_y_scale(low, high, is_log=is_log, is_fixed=y_range is not None)
    y_values = (choose_powers if is_log else choose_ticks)(y_scale.low, y_scale.high)
    x_values = choose_ticks(x_scale.low, x_scale.high, most=6)
    if x_whole:
        x_values = [value for value in x_values if value == round(value)]
    return LineChart(
        title=title,
        summary=summary,
        lines=[_draw_line(curve, x_scale, y_scale, tell_y) for curve in curves if curve.points],
        x_ticks=[Tick(x_scale.place(value), tell_x(value)) for value in x_values],
        y_ticks=[Tick(y_scale.place(value), tell_y(value)) for value in y_values],
        limits=[replace(limit, at=y_scale.place(limit.value)) for limit in limits],
        bands=[
            Band(x_scale.place(start), round(x_scale.place(end) - x_scale.place(start), 1), label, bool(n % 2))
            for n, (start, end, label) in enumerate(bands)
        ],
        x_label=x_label,
    )


def _stretch(low: float, high: float, start: float, end: float, *, pad: float) -> Scale:
    span = (high - low) or 1.0
    return Scale(low - pad * span, low + span * (1 + pad), start, end)


def _choose_y_scale(low: float, high: float, *, is_log: bool, is_fixed: bool) -> Scale:
    bottom, top = HEIGHT - BOTTOM, TOP
    if is_log:
        low, high = max(low, 1e-12), max(high, 1e-11)
        return Scale(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high * 1.5)), bottom, top, True)
    if is_fixed:
        return Scale(low, high, bottom, top)
    low = 0.0 if 0 <= low < (high - low) * 2 else low
    pad = ((high - low) or 1.0) * 0.08
    return Scale(low - (pad if low else 0.0), high + pad, bottom, top)


def _draw_line(curve: Curve, x_scale: Scale, y_scale: Scale, tell_y: Callable[[float], str]) -> Line:
    places = [(x_scale.place(point[0]), y_scale.place(point[1])) for point in curve.points]
    return Line(
        name=curve.name,
        tone=curve.tone,
        path="M" + "L".join(f"{x} {y}" for x, y in places),
        said=f"from {tell_y(curve.points[0][1])} to {tell_y(curve.points[-1][1])}",
        dots=places if len(places) <= 12 else [],
        whiskers=[
            Whisker(x_scale.place(x), y_scale.place(low), y_scale.place(high)) for x, low, high in curve.intervals
        ],
    )


@dataclass(frozen=True)
class IntervalRow:
    """A rate with its interval on a strip; `low` and `high` are None where there is no interval."""

    label: str
    said: str
    note: str
    tone: str
    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class IntervalChart:
    """Strips from `start` (0%) to `end` (100%) of a 400 wide canvas that is stretched to the page's width."""

    rows: list[IntervalRow]
    reference: float | None
    start: int = STRIP_LEFT
    end: int = STRIP_RIGHT
    scale: tuple[str, ...] = ("0%", "25%", "50%", "75%", "100%")


def draw_intervals(
    rows: Sequence[tuple[str, str, str, Mapping[str, float]]], *, reference: float | None = None
) -> IntervalChart:
    """Draw rates in [0, 1]: (label, note, tone, {value, low?, high?}); `reference` is a line through all strips."""
    scale = Scale(0.0, 1.0, STRIP_LEFT, STRIP_RIGHT)
    drawn = []
    for label, note, tone, rate in rows:
        low, high = rate.get("low"), rate.get("high")
        has_interval = low is not None and high is not None
        drawn.append(
            IntervalRow(
                label=label,
                said=f"{rate['value']:.0%}" + (f" ({low:.0%} to {high:.0%})" if has_interval else ""),
                note=note,
                tone=tone,
                at=scale.place(rate["value"]),
                low=scale.place(low) if low is not None and has_interval else None,
                high=scale.place(high) if high is not None and has_interval else None,
            )
        )
    return IntervalChart(drawn, None if reference is None else scale.place(reference))


@dataclass(frozen=True)
class Segment:
    name: str
    tone: str
    count: int
    x: float
    width: float


@dataclass(frozen=True)
class BarRow:
    label: str
    note: str
    total: int
    segments: list[Segment]


def draw_bars(
    rows: Mapping[str, Mapping[str, int]], tones: Mapping[str, str], notes: Mapping[str, str]
) -> list[BarRow]:
    """Draw stacked bars, longest first: label -> {part: count}; parts in the order of `tones`."""
    totals = {label: sum(parts.values()) for label, parts in rows.items()}
    scale = Scale(0.0, max([*totals.values(), 1]), 0.0, WIDTH)
    drawn = []
    for label in sorted(rows, key=lambda each: (-totals[each], each)):
        segments, begin = [], 0
        for name, tone in tones.items():
            if count := rows[label].get(name, 0):
                x = scale.place(begin)
                begin += count
                segments.append(Segment(name, tone, count, x, round(scale.place(begin) - x, 1)))
        drawn.append(BarRow(label, notes.get(label, ""), totals[label], segments))
    return drawn
