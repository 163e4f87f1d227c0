"""The demo's report: what was measured, in the shape that others read."""

from pathlib import Path
from typing import Any

from local.demo.approval import Rise
from local.demo.crowd import Heard
from local.demo.plan import Plan
from local.demo.screen import Screen

SAMPLES = 6


def build_report(
    *,
    plan: Plan,
    seed: int,
    versions: tuple[str, str],
    request: dict[str, Any],
    evaluation: dict[str, Any],
    rollout: dict[str, Any],
    rise: Rise,
    answered: list[dict[str, Any]],
    lineage: tuple[dict[str, Any] | None, dict[str, Any] | None],
    heard: Heard,
    summary: dict[str, Any],
) -> dict[str, Any]:
    win_rate = next(gate for gate in evaluation["gates"] if gate["name"] == "win_rate")
    return {
        "model": plan.name,
        "seed": seed,
        "champion_before": versions[0],
        "champion_after": versions[1],
        "events_accepted": len(heard.event_ids),
        "events_by_type": dict(sorted(heard.events.items())),
        "answers_served": heard.chats,
        "pairs": summary["pairs"],
        "retrain_reasons": request["reasons"],
        "dataset_sha256": request["dataset_sha256"],
        "gates": evaluation["gates"],
        "held_out_win_rate": {
            "value": win_rate["effect"],
            "low": win_rate["low"],
            "high": win_rate["high"],
            "n": evaluation["votes"]["cast"],
            "prompts": win_rate["n"],
        },
        "approval_rate": {
            "before": {"value": rise.before, "n": rise.n},
            "after": {"value": rise.after, "n": rise.n},
            "rise_low": rise.low,
            "templates": len({each["question"].template for each in answered}),
        },
        "stages": rollout["stages"],
        "lineage_checked": all(lineage),
        "lineage": {"answer_to_click": lineage[0], "click_to_champion": lineage[1]},
        "samples": [_describe(each) for each in sorted(answered, key=lambda each: each["question"].text)[:SAMPLES]],
    }


def _describe(each: dict[str, Any]) -> dict[str, Any]:
    liked = dict(zip(("before", "after"), each["liked"], strict=True))
    return {"prompt": each["question"].text, "before": each["before"], "after": each["after"], "approved": liked}


def print_summary(report: dict[str, Any], path: Path, screen: Screen) -> None:
    """What a reader wants to know first."""
    approval, win_rate = report["approval_rate"], report["held_out_win_rate"]
    for sample in report["samples"][:3]:
        screen.say(f"\n  asked:  {sample['prompt']}\n  before: {_shorten(sample['before'])}")
        screen.say(f"  after:  {_shorten(sample['after'])}")
    lines = [
        "",
        f"Champion: version {report['champion_before']} -> {report['champion_after']}",
        f"Feedback: {report['events_accepted']} events accepted on {report['answers_served']} answers",
        f"Blind win rate on gate prompts: {win_rate['value']:.0%} ({win_rate['low']:.0%} to {win_rate['high']:.0%},"
        f" {win_rate['n']} votes)",
        f"Approval on {approval['before']['n']} held-out prompts: {approval['before']['value']:.0%} ->"
        f" {approval['after']['value']:.0%} (rise at least {approval['rise_low']:.0%}, 95% interval)",
        f"Lineage from click to served answer and back: {'checked' if report['lineage_checked'] else 'NOT FOUND'}",
        f"Memory at its peak: {report['peak_pss_bytes'] / 2**30:.1f} GB",
        f"Time: {report['seconds']['total'] / 60:.1f} min",
        f"Report: {path}",
    ]
    for line in lines:
        screen.say(line)


def _shorten(text: str, limit: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rstrip() + " ..."
