"""Charts as inline SVG without script or style of their own, 360 units wide: a phone shows them full size."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360
ROW = 18
LABEL_WIDTH, LONGEST_LABEL, LETTER = 70, 170, 6.5
"""Units for labels of bars: at least, at most, and for each of their letters."""
VALUE_WIDTH = 60
HEIGHT = 180
BASE = 150
"""From the top to the line that columns stand on."""
TOP = 24
CLASSES = ("one", "two")


@dataclass(frozen=True)
class Series:
    name: str
    values: Sequence[int]


def draw_bars(rows: Sequence[tuple[str, int]]) -> str:
    """Draw a horizontal bar for each (label, value)."""
    most = max((value for _, value in rows), default=0) or 1
    longest = LETTER * (max((len(label) for label, _ in rows), default=0) + 1)
    begin = min(max(LABEL_WIDTH, longest), LONGEST_LABEL)
    parts = []
    for at, (label, value) in enumerate(rows):
        length = (WIDTH - begin - VALUE_WIDTH) * value / most
        parts.append(
            f'<text x="0" y="{at * ROW + 13}">{escape(label)}</text>'
            f'<rect class="one" x="{begin:g}" y="{at * ROW + 3}" width="{length:.1f}" height="{ROW - 5}"/>'
            f'<text x="{begin + length + 5:.1f}" y="{at * ROW + 13}">{value:,}</text>'
        )
    return _draw(max(len(rows) * ROW, ROW), parts)


def draw_columns(labels: Sequence[str], series: Sequence[Series]) -> str:
    """Draw columns side by side, one of each series (two at most) for each label."""
    most = max((value for one in series for value in one.values), default=0) or 1
    step = WIDTH / max(len(labels), 1)
    width = (step - 6) / len(series)
    parts = [_draw_legend(series, most)]
    for number, one in enumerate(series):
        for at, value in enumerate(one.values):
            height = (BASE - TOP) * value / most
            parts.append(
                f'<rect class="{CLASSES[number]}" x="{at * step + 3 + number * width:.1f}" y="{BASE - height:.1f}" '
                f'width="{width - 1:.1f}" height="{height:.1f}"><title>{one.name} from {escape(labels[at])}: {value:,}'
                "</title></rect>"
            )
    parts.append(f'<line class="line" x1="0" x2="{WIDTH}" y1="{BASE}" y2="{BASE}"/>')
    parts += [f'<text x="{at * step + 3:.1f}" y="{BASE + 16}">{escape(one)}</text>' for at, one in enumerate(labels)]
    return _draw(HEIGHT, parts)


def _draw_legend(series: Sequence[Series], most: int) -> str:
    parts = []
    for at, one in enumerate(series):
        parts.append(
            f'<rect class="{CLASSES[at]}" x="{at * 90}" y="2" width="10" height="10"/>'
            f'<text x="{at * 90 + 14}" y="12">{escape(one.name)}</text>'
        )
    return "".join(parts) + f'<text x="{WIDTH}" y="12" text-anchor="end">highest: {most:,}</text>'


def _draw(height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
