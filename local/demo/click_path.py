"""One click's way to a served answer, step by step: what the report draws."""

from collections.abc import Iterable
from typing import Any

from local.demo.apis import Apis
from local.demo.crowd import ChatLog

TRIES = 60
TELLING = ("edit", "choice")
"""Clicks that show by themselves what was wanted."""


async def trace_click(apis: Apis, log: ChatLog, version: str) -> dict[str, Any] | None:
    """Return a click that `version` was trained on, what it became, and an answer that the version gave to somebody
    else.

    None when no such click is found.
    """
    served = next((each for each, by in reversed(log.served.items()) if by == version), None)
    if served is None:
        return None
    for event_id in _choose_clicks(log):
        lineage = await apis.read("curator", f"/v1/lineage/event/{event_id}")
        if version in lineage["versions"]:
            return await _tell(apis, log, event_id, lineage, served) | {"version": version}
    return None


def _choose_clicks(log: ChatLog) -> Iterable[str]:
    return [event_id for kind in TELLING for event_id, event in log.clicks.items() if event["type"] == kind][:TRIES]


async def _tell(apis: Apis, log: ChatLog, event_id: str, lineage: dict[str, Any], served: str) -> dict[str, Any]:
    click = log.clicks[event_id]
    asked, answered = log.said[click["interaction_id"]]
    pairs = (await apis.read("curator", f"/v1/pairs?interaction_id={click['interaction_id']}"))["pairs"]
    pair = next((each for each in pairs if event_id in each["evidence"] and each["pair_id"] in lineage["pairs"]), None)
    dataset = lineage["datasets"][0]
    frozen = (await apis.read("curator", f"/v1/datasets/{dataset}"))["manifest"]
    return {
        "asked": asked,
        "answered": answered,
        "answered_by": log.served[click["interaction_id"]],
        "interaction_id": click["interaction_id"],
        "click": {"event_id": event_id, "type": click["type"], "text": click.get("text")},
        "pair": pair and {name: pair[name] for name in ("pair_id", "rule", "split", "chosen", "rejected", "epsilon")},
        "dataset": {"sha256": dataset, "counts": frozen["counts"]},
        "served": {"interaction_id": served, "asked": log.said[served][0], "answered": log.said[served][1]},
        "served_count": lineage["served_count"],
    }
