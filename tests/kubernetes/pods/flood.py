"""`flood.py PREFIX`: post feedback in batches until /tmp/stop is there; run in a pod. Prints how many were accepted.

Every event's id begins with PREFIX, so that they can be counted; they speak of answers that nobody gave.
"""

import asyncio
import os
import sys
from pathlib import Path
from uuid import uuid4

import httpx

STOP = Path("/tmp/stop")
CLIENTS = 4
BATCH = 200
PAUSE_SECONDS = 0.5


def make_event(prefix: str) -> dict[str, str]:
    event_id = f"{prefix}{str(uuid4())[len(prefix) :]}"
    return {"event_id": event_id, "type": "thumb", "interaction_id": str(uuid4()), "value": "up", "user_id": "flood"}


async def flood(prefix: str) -> int:
    """Post until told to stop, and what was not stored again; return how many events were accepted."""
    accepted = 0
    waiting: list[dict[str, str]] = []
    headers = {"authorization": f"Bearer {os.environ['KEY']}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as client:
        while waiting or not STOP.exists():
            events = waiting or [make_event(prefix) for _ in range(BATCH)]
            try:
                reply = await client.post(f"{os.environ['INGEST']}/v1/feedback/batch", json={"events": events})
                outcomes = [each["outcome"] for each in reply.json()["outcomes"]]
            except (httpx.HTTPError, ValueError, KeyError):
                outcomes = ["retry"] * len(events)
            waiting = [event for event, outcome in zip(events, outcomes, strict=True) if outcome == "retry"]
            accepted += len(events) - len(waiting) - outcomes.count("rejected")
            if waiting:
                await asyncio.sleep(PAUSE_SECONDS)
    return accepted


async def main(prefix: str) -> None:
    sys.stdout.write(f"{sum(await asyncio.gather(*(flood(prefix) for _ in range(CLIENTS))))}\n")


asyncio.run(main(sys.argv[1]))
