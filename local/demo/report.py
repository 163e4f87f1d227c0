"""The demo's report: what was measured, in the shape that others read."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from local.demo.answers import Answered, calculate_rate_of, calculate_rise_between
from local.demo.crowd import ChatLog
from local.demo.plan import Plan
from local.demo.screen import Screen

SAMPLES = 6


def describe_run(plan: Plan, scenario: str, seed: int, log: ChatLog, summary: dict[str, Any]) -> dict[str, Any]:
    """Return what every scenario's report begins with; `summary` is the curator's."""
    return {
        "scenario": scenario,
        "model": plan.name,
        "seed": seed,
        "events_accepted": len(log.event_ids),
        "events_by_type": dict(sorted(log.events.items())),
        "answers_served": log.chats,
        "pairs": summary["pairs"],
    }


def describe_promotion(request: dict[str, Any], evaluation: dict[str, Any], rollout: dict[str, Any]) -> dict[str, Any]:
    """Describe why the model was retrained, how the candidate was judged, and what became of it."""
    win_rate = next(gate for gate in evaluation["gates"] if gate["name"] == "win_rate")
    return {
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
        "rollout": {"state": rollout["state"], "summary": rollout["summary"]},
        "stages": rollout["stages"],
    }


def describe_approval(answered: list[Answered]) -> dict[str, Any]:
    """Return the approval rates of the contestants `before` and `after`, and the rise on the same prompts."""
    rise = calculate_rise_between(answered, "before", "after")
    return {
        "before": asdict(calculate_rate_of(answered, "before")),
        "after": asdict(calculate_rate_of(answered, "after")),
        "rise_low": rise.low,
        "templates": len({each.question.template for each in answered}),
    }


def describe_baselines(answered: list[Answered], summaries: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what else a team could have done; `summaries` says it for each contestant's name."""
    return [
        {"name": name, "summary": told, "approval": asdict(calculate_rate_of(answered, name))}
        for name, told in summaries.items()
    ]


def describe_lineage(back: dict[str, Any] | None, forward: dict[str, Any] | None) -> dict[str, Any]:
    """Return both directions, and whether both were found."""
    return {
        "lineage_checked": bool(back and forward),
        "lineage": {"answer_to_click": back, "click_to_champion": forward},
    }


def describe_samples(answered: list[Answered]) -> list[dict[str, Any]]:
    """Return the first few prompts in the order of the alphabet, so not chosen by their answers."""
    return [
        {"prompt": each.question.text, **each.texts, "approved": {name: each.is_liked(name) for name in each.texts}}
        for each in answered[:SAMPLES]
    ]


def print_summary(report: dict[str, Any], page: Path, screen: Screen) -> None:
    """Print what a reader wants to know first, of whatever the scenario measured."""
    for sample in report.get("samples", [])[:3]:
        screen.say(f"\n  asked:  {sample['prompt']}\n  before: {_shorten(sample['before'])}")
        screen.say(f"  after:  {_shorten(sample['after'])}")
    screen.say("")
    for line in _sum_up(report):
        screen.say(line)
    screen.link("Report", page)


def _sum_up(report: dict[str, Any]) -> Iterator[str]:
    yield f"Champion: version {report['champion_before']} -> {report['champion_after']}"
    yield f"Feedback: {report['events_accepted']} events accepted on {report['answers_served']} answers"
    if win_rate := report.get("held_out_win_rate"):
        bounds = f"{win_rate['low']:.0%} to {win_rate['high']:.0%}, {win_rate['n']} votes"
        yield f"Blind win rate on gate prompts: {win_rate['value']:.0%} ({bounds})"
    if approval := report.get("approval_rate"):
        rise = f"{approval['before']['value']:.0%} -> {approval['after']['value']:.0%}"
        low = f"rise at least {approval['rise_low']:.0%}, 95% interval"
        yield f"Approval on {approval['before']['n']} held-out prompts: {rise} ({low})"
    for baseline in report.get("baselines", []):
        yield f"  baseline, {baseline['summary']}: {baseline['approval']['value']:.0%}"
    if "lineage_checked" in report:
        found = "checked" if report["lineage_checked"] else "NOT FOUND"
        yield f"Lineage from click to served answer and back: {found}"
    yield f"Memory at its peak: {report['peak_pss_bytes'] / 2**30:.1f} GB"
    yield f"Time: {report['seconds']['total'] / 60:.1f} min"


def _shorten(text: str, limit: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rstrip() + " ..."
