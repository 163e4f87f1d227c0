"""A rollout in a few lines, for people."""

from collections.abc import Iterator
from typing import Any


def describe_rollout(rollout: dict[str, Any]) -> Iterator[str]:
    """Say where a rollout stands: its state, each guardrail with its bound, forecast and deadline."""
    versions = f"version {rollout['candidate_version']} against {rollout['champion_version']}"
    yield f"rollout {rollout['rollout_id']}, {versions}: {rollout['state'].replace('_', ' ')}"
    yield f"  {rollout['summary']}"
    yield f"  approval hash {rollout['approval_hash']}"
    for stage in rollout["stages"]:
        ended = f", {stage['ended_by'].replace('_', ' ')} {stage['ended_at']}" if stage.get("ended_by") else ""
        yield f"  {stage['percent']:g}% since {stage['started_at']}{ended}"
    evidence = rollout["evidence"]
    if evidence.get("frozen_until") and rollout["closed_at"] is None:
        yield f"  frozen until {evidence['frozen_until']}"
    if policy := evidence.get("policy"):
        yield f"  {_describe_policy(policy)}"
    if confirmed := evidence.get("confirmed"):
        yield f"  its holdback confirms it: not worse by {confirmed['not_worse_by']:.0%} or more"
    if shadow := evidence.get("shadow"):
        yield from _describe_shadow(shadow)
    for reading in evidence.get("guardrails", []):
        yield f"  {_describe_reading(reading)}"
    if evidence.get("summary"):
        yield f"  {evidence['summary']}"
    forecast = evidence.get("forecast") or evidence.get("at_approval")
    if forecast and rollout["closed_at"] is None:
        yield f"  decides in (20, 50, 80%): {', '.join(_show_time(each) for each in forecast['seconds'])}"
        if forecast.get("warning"):
            yield f"  {forecast['warning']}"
    if evidence.get("deadline_at") and rollout["closed_at"] is None:
        yield f"  ended if undecided by {evidence['deadline_at']}"


def _describe_shadow(shadow: dict[str, Any]) -> Iterator[str]:
    ended = f"until {shadow['passed_at']}" if shadow["passed_at"] else f"ended if undecided by {shadow['deadline_at']}"
    yield f"  in its shadow {ended}: {shadow['prompts']} prompts compared"
    for each in shadow["guardrails"]:
        state = each["action"].replace("_", " ") if each["is_breached"] else "quiet"
        yield f"    {each['name']}: {state}; evidence {each['e_value']:.3g} of {each['acts_at']:.3g}"


def _describe_reading(reading: dict[str, Any]) -> str:
    state = reading["action"].replace("_", " ") if reading["is_breached"] else "quiet"
    arms = f"canary {_show_share(reading['canary'])}, champion {_show_share(reading['champion'])}"
    return f"{reading['name']}: {state}; {arms}; evidence {reading['e_value']:.3g} of {reading['acts_at']:.3g}"


def _show_share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _show_time(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return f"{seconds / 86_400:.1f} days" if seconds >= 86_400 else f"{seconds / 3_600:.1f} h"


def _describe_policy(policy: dict[str, Any]) -> str:
    name = f"approval policy {policy['version']}"
    if policy["approves_at"]:
        return f"{name} approves it at {policy['approves_at']}: reject or pause it to veto"
    return f"{name} leaves it to a person: {'; '.join(policy['objections'])}"


def describe_delivery(notice: dict[str, Any]) -> str:
    """Say whether a webhook took a notice, or when it is tried again."""
    if notice["delivered_at"]:
        return f"taken {notice['delivered_at']}"
    if notice["given_up_at"]:
        return f"given up ({notice['last_result']})"
    return f"again {notice['next_attempt_at']}" + (f" ({notice['last_result']})" if notice["last_result"] else "")
