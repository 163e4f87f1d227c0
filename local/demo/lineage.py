"""Traces one served answer back to a click, and one click forward to the champion, over the curator's API."""

from collections.abc import Collection, Iterable
from typing import Any

from local.demo.apis import Apis

TRIES = 60


async def trace_back(apis: Apis, answers: Iterable[str], clicks: Collection[str]) -> dict[str, Any] | None:
    """Return the first of these served answers whose model rests on one of these clicks."""
    known = set(clicks)
    for interaction_id in list(answers)[:TRIES]:
        lineage = await apis.read("curator", f"/v1/lineage/interaction/{interaction_id}")
        if found := known.intersection(lineage["events"]):
            return {"interaction_id": interaction_id, "event_id": min(found), "datasets": lineage["datasets"]}
    return None


async def trace_forward(apis: Apis, clicks: Iterable[str], version: str) -> dict[str, Any] | None:
    """Return the first of these clicks that `version` was trained on."""
    for event_id in list(clicks)[:TRIES]:
        lineage = await apis.read("curator", f"/v1/lineage/event/{event_id}")
        if version in lineage["versions"]:
            return {"event_id": event_id, "pairs": lineage["pairs"], "datasets": lineage["datasets"]}
    return None
