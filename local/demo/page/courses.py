"""How things went over several rounds, or after the users changed their minds."""

from collections.abc import Sequence
from typing import Any

from local.demo.page.charts import Curve, LineChart, draw_lines
from local.demo.page.scales import tell_number, tell_percent

Report = dict[str, Any]


def derive_rounds(report: Report) -> list[LineChart]:
    """Small multiples: one measure each over the rounds."""
    rounds: Sequence[dict[str, Any]] = report.get("rounds") or []
    if not rounds:
        return []
    approvals = [each for each in rounds if each.get("approval")]
    before = (report.get("approval_rate") or {}).get("before")
    shown = [(0, before), *((each["round"], each["approval"]) for each in approvals)] if before else [
        (each["round"], each["approval"]) for each in approvals
    ]  # fmt: skip
    intervals = [(n, rate["low"], rate["high"]) for n, rate in shown if "low" in rate]
    held = [each for each in rounds if (each.get("holdback") or {}).get("difference") is not None]
    rates = [(n, rate["value"]) for n, rate in shown]
    charts = [
        _draw_rounds("Approval", [Curve("approval", "new", rates, intervals)], True),
        _draw_rounds("Thumbs up after promotion", [
            Curve("new champion", "new", [(each["round"], each["holdback"]["champion"]) for each in held]),
            Curve("users held back", "old", [(each["round"], each["holdback"]["holdback"]) for each in held]),
        ], True),
        *(
            _draw_rounds(title, [Curve(title, "new", [(each["round"], each[name]) for each in rounds if name in each])])
            for name, title in (
                ("length_words", "Words an answer"),
                ("distinct_2", "Distinct-2: variety of wording"),
                ("kl_to_anchor", "KL to the first model, nats a token"),
            )
        ),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _draw_rounds(title: str, curves: list[Curve], is_share: bool = False) -> LineChart | None:
    y_range = (0.0, 1.0) if is_share else None
    tell_y = tell_percent if is_share else tell_number
    return draw_lines(title, curves, x_label="round", y_range=y_range, tell_y=tell_y, x_whole=True)


def derive_falling(report: Report) -> LineChart | None:
    """The share of thumbs up in each run of thumbs, and when the taste changed."""
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
