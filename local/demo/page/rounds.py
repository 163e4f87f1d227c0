"""How things went over several rounds, or after the users changed their minds."""

from collections.abc import Sequence
from typing import Any

from local.demo.page.charts import Curve, LineChart, draw_lines
from local.demo.page.scales import tell_number, tell_percent

Report = dict[str, Any]


MEASURES = {
    "length_words": "Words an answer",
    "distinct_2": "Distinct-2: variety of wording",
    "kl_to_anchor": "KL to the first model, nats a token",
}


def derive_rounds(report: Report) -> list[LineChart]:
    """Derive small multiples: one measure each over the rounds; the first champion's approval is round 0."""
    rounds: Sequence[dict[str, Any]] = report.get("rounds") or []
    if not rounds:
        return []
    charts = [_draw_approvals(report, rounds), _draw_holdbacks(rounds)]
    for name, title in MEASURES.items():
        points = [(each["round"], each[name]) for each in rounds if name in each]
        charts.append(_draw_rounds(title, [Curve(title, "new", points)]))
    return [chart for chart in charts if chart is not None]


def _draw_approvals(report: Report, rounds: Sequence[dict[str, Any]]) -> LineChart | None:
    rates = {each["round"]: each["approval"] for each in rounds if each.get("approval")}
    if before := (report.get("approval_rate") or {}).get("before"):
        rates = {0: before} | rates
    points = [(n, rate["value"]) for n, rate in rates.items()]
    intervals = [(n, rate["low"], rate["high"]) for n, rate in rates.items() if "low" in rate]
    return _draw_rounds("Approval", [Curve("approval", "new", points, intervals)], is_share=True)


def _draw_holdbacks(rounds: Sequence[dict[str, Any]]) -> LineChart | None:
    held = {each["round"]: each["holdback"] for each in rounds if each.get("holdback")}
    held = {n: each for n, each in held.items() if each.get("difference") is not None}
    differences = ", ".join(f"{each['difference']:+.0%} in round {n}" for n, each in held.items())
    curves = [
        Curve("new champion", "new", [(n, each["champion"]) for n, each in held.items()]),
        Curve("users held back", "old", [(n, each["holdback"]) for n, each in held.items()]),
    ]
    return _draw_rounds("Thumbs up after promotion", curves, is_share=True, summary=f"Difference: {differences}.")


def _draw_rounds(title: str, curves: list[Curve], *, is_share: bool = False, summary: str = "") -> LineChart | None:
    y_range = (0.0, 1.0) if is_share else None
    tell_y = tell_percent if is_share else tell_number
    return draw_lines(title, curves, summary=summary, x_label="round", y_range=y_range, tell_y=tell_y, x_whole=True)


def derive_falling(report: Report) -> LineChart | None:
    """Return the share of thumbs up in each run of thumbs, and when the taste changed."""
    falling = report.get("falling") or {}
    history, changed = falling.get("history"), falling.get("changed_at_thumb")
    if not history:
        return None
    size = falling.get("thumbs_a_point", 25)
    end = len(history) * size
    bands = [(0.0, changed, "before"), (changed, end, "taste changed")] if changed and 0 < changed < end else []
    points = [((n + 0.5) * size, value) for n, value in enumerate(history)]
    return draw_lines(
        f"Thumbs up among {size} in turn",
        [Curve("thumbs up", "new", points)],
        x_label="thumbs",
        bands=bands,
        y_range=(0.0, 1.0),
        tell_y=tell_percent,
    )
