"""Four clients that chat, two of them by streams, a fifth by streams of a minute, and four that post feedback.

Run in a pod. Each keeps its connections and sends nothing again. They go on until /tmp/stop is there. Prints as JSON
what was answered, by which versions, what was accepted, and each failure.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

STOP = Path("/tmp/stop")
CLIENTS = 4
PAUSE_SECONDS = float(os.environ.get("PAUSE_SECONDS", "0.2"))
SHORT, MINUTE = 20, 600
"""Tokens: the model server of the tests streams ten a second."""
QUESTION = {"role": "user", "content": "Where is my parcel?"}
DONE = "[DONE]"


@dataclass
class Seen:
    """What clients were told."""

    answered: dict[str, str] = field(default_factory=dict)
    """Interaction id -> user."""
    accepted: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    streams: int = 0
    longest_seconds: float = 0.0
    waiting: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    """Posts that failed: they may have been stored all the same."""


class Unfinished(httpx.HTTPError):
    """A stream that ended before its end."""


async def chat(client: httpx.AsyncClient, user: str, seen: Seen) -> None:
    body = {"model": "heliotrope", "user": user, "max_tokens": SHORT, "messages": [QUESTION]}
    response = await client.post(f"{os.environ['GATEWAY']}/v1/chat/completions", json=body)
    response.raise_for_status()
    note(response.json()["heliotrope"], user, seen)


def note(said: dict[str, Any], user: str, seen: Seen) -> None:
    interaction_id = said["interaction_ids"][0]
    seen.versions[said["model_version"]] += 1
    seen.answered[interaction_id] = user
    seen.waiting.append(interaction_id)


async def stream(client: httpx.AsyncClient, user: str, seen: Seen, tokens: int = SHORT) -> None:
    body = {"model": "heliotrope", "user": user, "max_tokens": tokens, "messages": [QUESTION], "stream": True}
    started, told = time.monotonic(), [""]
    async with client.stream("POST", f"{os.environ['GATEWAY']}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        told += [line[6:] async for line in response.aiter_lines() if line.startswith("data: ")]
    if told[-1] != DONE or "heliotrope" not in (last := json.loads(told[-2])):
        raise Unfinished(f"a stream ended with {told[-1][:200]!r}")
    note(last["heliotrope"], user, seen)
    seen.streams += 1
    seen.longest_seconds = max(seen.longest_seconds, time.monotonic() - started)


async def stream_for_a_minute(client: httpx.AsyncClient, user: str, seen: Seen) -> None:
    await stream(client, user, seen, MINUTE)


async def post(client: httpx.AsyncClient, _: str, seen: Seen) -> None:
    """Each answer is judged once, by whom it was given to."""
    if not seen.waiting:
        return
    interaction_id = seen.waiting.pop(0)
    event = {"event_id": str(uuid4()), "type": "thumb", "interaction_id": interaction_id, "value": "up"}
    event |= {"user_id": seen.answered[interaction_id]}
    response = await client.post(f"{os.environ['INGEST']}/v1/feedback", json=event)
    response.raise_for_status()
    seen.accepted.append(event["event_id"])


Act = Callable[[httpx.AsyncClient, str, Seen], Coroutine[Any, Any, None]]


async def repeat(act: Act, user: str, seen: Seen, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(headers=headers, timeout=120) as client:
        while not STOP.exists():
            try:
                await act(client, user, seen)
            except (httpx.HTTPError, ValueError) as error:
                said = error.response.text[:200] if isinstance(error, httpx.HTTPStatusError) else ""
                seen.unsure += act is post
                seen.failures.append(f"{time.strftime('%H:%M:%S')} {act.__name__}: {error!r} {said}")
            await asyncio.sleep(PAUSE_SECONDS)


async def main() -> None:
    seen = Seen()
    headers = {"authorization": f"Bearer {os.environ['KEY']}"}
    acts = [chat, chat, stream, stream, stream_for_a_minute, *[post] * CLIENTS]
    await asyncio.gather(*(repeat(act, f"load-{number}", seen, headers) for number, act in enumerate(acts)))
    kinds = Counter(failure.split(" ", 1)[1][:120] for failure in seen.failures)
    report = {
        "answered": list(seen.answered),
        "accepted": seen.accepted,
        "failed": len(seen.failures),
        "unsure": seen.unsure,
        "failures": seen.failures[:50],
        "kinds": kinds,
        "versions": seen.versions,
        "streams": seen.streams,
        "longest_seconds": seen.longest_seconds,
    }
    sys.stdout.write(f"{json.dumps(report)}\n")


asyncio.run(main())
