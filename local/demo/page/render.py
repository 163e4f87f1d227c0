"""The report's JSON becomes a page."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from local.demo.page import curves, rounds, sections
from local.demo.page.click_path import derive_way
from local.demo.page.headline import compare_baselines, derive_headline
from shared.page_policy import hash_source

PARTS = {
    "falling": "The fall",
    "rounds": "Rounds",
    "timeline": "Timeline",
    "pairs": "Pairs",
    "trainings": "Training",
    "win_rate": "Gates",
    "canaries": "Canary",
    "approval": "Approval",
    "samples": "Answers",
    "story": "Lineage",
}
ANCHORS = {"trainings": "training", "win_rate": "gates", "canaries": "canary", "samples": "answers", "story": "lineage"}


def render_page(report: dict[str, Any]) -> str:
    """Render HTML whose policy lets nothing in but its own style sheet; all texts of models and users are escaped."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    content = {
        "falling": rounds.derive_falling(report),
        "rounds": rounds.derive_rounds(report),
        "timeline": sections.derive_timeline(report),
        "pairs": sections.derive_pairs(report),
        "trainings": curves.derive_trainings(report),
        "win_rate": sections.derive_win_rate(report),
        "canaries": curves.derive_canaries(report),
        "approval": sections.derive_approval(report),
        "samples": sections.derive_samples(report),
        "story": derive_way(report),
    }
    return (
        _load_environment()
        .get_template("page.html")
        .render(
            **content,
            gates=report.get("gates") or [],
            verdicts=compare_baselines(report),
            headline=derive_headline(report),
            parts=[(ANCHORS.get(name, name), title) for name, title in PARTS.items() if content[name]],
            policy=_derive_policy(style),
            style=style,
            subtitle=_describe(report),
            footer=_describe_run(report),
            command=_tell_command(report),
        )
    )


@cache
def _load_environment() -> Environment:
    return Environment(
        loader=PackageLoader("local.demo", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _derive_policy(style: str) -> str:
    return f"default-src 'none'; style-src {hash_source(style)}; img-src data:; base-uri 'none'; form-action 'none'"


def _describe(report: dict[str, Any]) -> str:
    day = str(report.get("at", ""))[:10]
    parts = [
        f"scenario {report.get('scenario', 'turn')}",
        f"model {report.get('model', '')}",
        f"seed {report.get('seed')}",
    ]
    return "Report of the demo: " + ", ".join([*parts, day])


def _describe_run(report: dict[str, Any]) -> str:
    parts = []
    if total := (report.get("seconds") or {}).get("total"):
        parts.append(f"The run took {total / 60:.1f} minutes")
    if peak := report.get("peak_pss_bytes"):
        parts.append(f"and at most {peak / 2**30:.1f} GB of memory")
    return " ".join(parts) + "." if parts else ""


def _tell_command(report: dict[str, Any]) -> str:
    scenario = report.get("scenario", "turn")
    named = "" if scenario == "turn" else f" SCENARIO={scenario}"
    return f'make demo{named} MODEL={report.get("model", "")} ARGS="--seed {report.get("seed", 0)}"'
