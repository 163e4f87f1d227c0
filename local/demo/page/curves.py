"""What went on while a model was trained and while its canary ran, as curves."""

import itertools
from dataclasses import dataclass
from typing import Any

from local.demo.page.charts import Curve, Limit, LineChart, draw_lines
from local.demo.page.scales import tell_number, tell_percent, tell_power

Report = dict[str, Any]

SINCE = "seconds since the first vote"
LEAST_E_VALUE = 0.01
"""Smaller ones are drawn as this: a logarithmic axis has no zero."""


@dataclass(frozen=True)
class ChartSpec:
    """A training chart: its metrics with their names, and the guards that limit them."""

    title: str
    metrics: dict[str, str]
    guards: dict[str, str]
    is_log: bool = False
    is_share: bool = False


CHARTS = (
    ChartSpec("Loss", {"loss": "training", "eval_loss": "validation"}, {}),
    ChartSpec(
        "Reward margin, nats",
        {"rewards/margins": "training", "eval_rewards/margins": "validation"},
        {"max_margin": "guard: enough above"},
    ),
    ChartSpec(
        "Pairs ranked right",
        {"rewards/accuracies": "training", "eval_rewards/accuracies": "validation"},
        {},
        is_share=True,
    ),
    ChartSpec(
        "Gradient norm", {"grad_norm": "before clipping"}, {"max_gradient_norm": "guard: stop above"}, is_log=True
    ),
    ChartSpec("KL to the parent, nats", {"kl": "training", "eval_kl": "validation"}, {"max_kl": "guard: stop above"}),
    ChartSpec("Entropy, nats a token", {"entropy": "training"}, {"min_entropy": "guard: stop below"}),
)


@dataclass(frozen=True)
class Training:
    title: str
    summary: str
    charts: list[LineChart]


def derive_trainings(report: Report) -> list[Training]:
    return [
        Training(
            title=f"Version {run['candidate_version'] or '(none)'} from version {run['parent_version']}",
            summary=(
                f"Recipe {run['recipe']['name']}, {run['recipe']['method'].upper()}, at most"
                f" {run['recipe']['max_steps']} steps. It ended because: {run['summary'] or run['state']}."
            ),
            charts=[chart for spec in CHARTS if (chart := _draw_training(spec, run)) is not None],
        )
        for run in report.get("trainings") or []
        if run["curves"]
    ]


def _draw_training(spec: ChartSpec, run: dict[str, Any]) -> LineChart | None:
    tones = itertools.cycle(("new", "base"))
    curves = [
        Curve(name, tone, run["curves"][metric])
        for (metric, name), tone in zip(spec.metrics.items(), tones, strict=False)
        if run["curves"].get(metric)
    ]
    limits = [
        Limit(f"{summary} {tell_number(run['guards'][guard])}", run["guards"][guard])
        for guard, summary in spec.guards.items()
        if run["guards"].get(guard) is not None
    ]
    if "grad_norm" in spec.metrics and (clip := run.get("clips_gradients_at")):
        limits.append(Limit(f"clipped to {tell_number(clip)}", clip, "old"))
    return draw_lines(
        spec.title,
        curves,
        x_label="step",
        limits=limits,
        is_log=spec.is_log,
        y_range=(0.0, 1.0) if spec.is_share else None,
        tell_y=tell_percent if spec.is_share else tell_power if spec.is_log else tell_number,
    )


@dataclass(frozen=True)
class Canary:
    title: str
    summary: str
    state: str
    charts: list[LineChart]


def derive_canaries(report: Report) -> list[Canary]:
    return [_derive_canary(each) for each in report.get("canaries") or [] if each["history"]]


def _derive_canary(canary: dict[str, Any]) -> Canary:
    charts = [chart for chart in (_draw_evidence(canary), _draw_votes(canary)) if chart is not None]
    return Canary(f"Version {canary['candidate_version']}", canary["summary"], canary["state"], charts)


def _draw_evidence(canary: dict[str, Any]) -> LineChart | None:
    limits = [
        Limit(f"1/α for advancing: {canary['advances_at']:.0f}", canary["advances_at"], "new"),
        Limit(f"1/α for rolling back: {canary['rolls_back_at']:.0f}", canary["rolls_back_at"]),
    ]
    if canary["advances_at"] == canary["rolls_back_at"]:
        limits = [Limit(f"1/α for either: {canary['advances_at']:.0f}", canary["advances_at"], "old")]
    advance = [(at, max(point["e_advance"], LEAST_E_VALUE)) for at, point in _list_points(canary)]
    rollback = [(at, max(point["e_rollback"], LEAST_E_VALUE)) for at, point in _list_points(canary)]
    return draw_lines(
        "e-values, logarithmic",
        [
            Curve(f"not worse by {canary['delta']:.0%} or more: advance", "new", advance),
            Curve("worse: roll back", "bad", rollback),
        ],
        x_label=SINCE,
        limits=limits,
        bands=_list_bands(canary),
        is_log=True,
        tell_y=tell_power,
    )


def _draw_votes(canary: dict[str, Any]) -> LineChart | None:
    curves = []
    for arm, name, tone in (("canary", "candidate", "new"), ("champion", "champion", "old")):
        counts = [(at, point[arm]) for at, point in _list_points(canary)]
        curves.append(Curve(name, tone, [(at, each["ups"] / each["votes"]) for at, each in counts if each["votes"]]))
    return draw_lines(
        "Thumbs up, one vote a user",
        curves,
        x_label=SINCE,
        bands=_list_bands(canary),
        y_range=(0.0, 1.0),
        tell_y=tell_percent,
    )


def _list_points(canary: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
    """Each look at the evidence, with its seconds since the first vote."""
    began = canary["history"][0]["at"]
    return [(point["at"] - began, point) for point in canary["history"]]


def _list_bands(canary: dict[str, Any]) -> list[tuple[float, float, str]]:
    """(start, end, percent) of each stage, in seconds since the first vote."""
    points = _list_points(canary)
    starts: dict[int, float] = {}
    for at, point in points:
        if point["stage"] is not None:
            starts.setdefault(point["stage"], at)
    ends = [*list(starts.values())[1:], points[-1][0]]
    percents = [stage["percent"] for stage in canary["stages"]]
    return [
        (start, end, f"{percents[stage]:.0f}%" if stage < len(percents) else "")
        for (stage, start), end in zip(starts.items(), ends, strict=True)
    ]
