"""The page's parts, each from its part of the report; a part whose data is absent is left out."""

from dataclasses import dataclass
from typing import Any

from local.demo.page.charts import BarRow, IntervalChart, draw_bars, draw_intervals
from local.demo.page.scales import Scale, tell_seconds

Report = dict[str, Any]

SPLITS = {"train": "new", "validation": "base", "gate": "old"}
RULES = {
    "choice": "one of two answers was preferred",
    "edit": "the user's correction over the answer",
    "regenerate": "a liked replacement over what was replaced",
    "same_user_contrast": "one user liked one answer and not the other",
    "cross_user_contrast": "different users liked one answer and not the other",
}
NOTES_SHOWN = 5


@dataclass(frozen=True)
class StageRow:
    """A stage's share of the whole run, `x` to `x + width` of 400, and what was said meanwhile."""

    title: str
    times: str
    x: float
    width: float
    dots: list[float]
    notes: list[tuple[str, str]]
    more: list[tuple[str, str]]


def derive_timeline(report: Report) -> list[StageRow]:
    stages = [stage for stage in report.get("timeline") or [] if stage["end"] is not None]
    if not stages:
        return []
    scale = Scale(0.0, max(max(stage["end"] for stage in stages), 1.0), 0.0, 400.0)
    rows = []
    for stage in stages:
        happened = [] if stage["name"] in ("start", "stop") else stage["notes"]
        notes = [(tell_seconds(note["at"]), _shorten(stage["name"], note["summary"])) for note in happened]
        x = scale.place(stage["start"])
        seconds = stage["end"] - stage["start"]
        rows.append(
            StageRow(
                title=stage["title"],
                times=f"{tell_seconds(stage['start'])} to {tell_seconds(stage['end'])}, {seconds:.0f} s",
                x=x,
                width=max(2.0, round(scale.place(stage["end"]) - x, 1)),
                dots=[scale.place(note["at"]) for note in happened],
                notes=notes[:NOTES_SHOWN],
                more=notes[NOTES_SHOWN:],
            )
        )
    return rows


def _shorten(stage: str, summary: str) -> str:
    """The gates' summaries have a part of the page to themselves."""
    return summary.partition(",")[0] if stage == "evaluate" else summary


@dataclass(frozen=True)
class Pairs:
    rows: list[BarRow]
    splits: dict[str, str]
    summary: str
    refused: int


def derive_pairs(report: Report) -> Pairs | None:
    counts = report.get("pairs") or {}
    crossed = counts.get("by_rule_and_split")
    if not crossed:
        return None
    by_split = counts["by_split"]
    told = ", ".join(f"{by_split[name]:,} {name}" for name in SPLITS if name in by_split)
    return Pairs(
        rows=draw_bars(crossed, SPLITS, RULES),
        splits=SPLITS,
        summary=f"{counts['active']:,} pairs stand: {told}.",
        refused=counts.get("by_state", {}).get("refused", 0),
    )


def derive_win_rate(report: Report) -> IntervalChart | None:
    if not (rate := report.get("held_out_win_rate")):
        return None
    note = f"{rate['n']} votes on {rate['prompts']} prompts that were kept from training"
    return draw_intervals([("The candidate wins", note, "new", rate)], reference=0.5)


def derive_approval(report: Report) -> IntervalChart | None:
    if not (approval := report.get("approval_rate")):
        return None
    rows = [
        ("The model before", f"{approval['before']['n']} prompts", "old", approval["before"]),
        ("The new champion", f"{approval['after']['n']} prompts", "new", approval["after"]),
    ]
    rows += [
        (f"Baseline: {each['summary']}", f"{each['approval'].get('n', '?')} prompts", "base", each["approval"])
        for each in report.get("baselines") or []
    ]
    return draw_intervals(rows)


@dataclass(frozen=True)
class SampleAnswer:
    label: str
    tone: str
    text: str
    approved: bool | None


@dataclass(frozen=True)
class Sample:
    prompt: str
    answers: list[SampleAnswer]


def derive_samples(report: Report) -> list[Sample]:
    labels = [("before", "Before", "old"), ("after", "After", "new")]
    labels += [(each["name"], f"Baseline: {each['summary']}", "base") for each in report.get("baselines") or []]
    return [
        Sample(
            sample["prompt"],
            [
                SampleAnswer(label, tone, sample[name], sample.get("approved", {}).get(name))
                for name, label, tone in labels
                if isinstance(sample.get(name), str)
            ],
        )
        for sample in report.get("samples") or []
    ]
