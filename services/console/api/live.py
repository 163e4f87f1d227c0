"""Server-sent events: they say that the loop has moved, and pages then fetch themselves anew."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from services.console.api.http import Console, Served, signed_in
from services.console.domain.access import EVERYBODY
from services.console.domain.people import SignedIn
from shared.draining import Drain

STREAM_SECONDS = 12.0
"""Then the browser comes back by itself: no stream keeps a server from ending, or goes on for a closed account."""


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/live")
    async def live(
        request: Request, console: Served, person: Annotated[SignedIn, Depends(signed_in(*EVERYBODY))]
    ) -> StreamingResponse:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        known = request.headers.get("last-event-id", "")
        drain = request.scope.get("drain", Drain())
        return StreamingResponse(_tell(console, known, drain), media_type="text/event-stream", headers=headers)

    return router


async def _tell(console: Console, known: str, drain: Drain) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    loop = asyncio.get_running_loop()
    end = loop.time() + STREAM_SECONDS
    while loop.time() < end and not drain.has_begun:
        pulse = await run_in_threadpool(console.looks.feel_pulse)
        if pulse != known:
            yield f"id: {pulse}\nevent: moved\ndata: {'again' if known else 'begun'}\n\n"
            known = pulse
        await asyncio.sleep(console.own.look_seconds)
