"""Connections to model servers are kept, but none of them for long."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from services.gateway.adapters.renewed_session import RenewedSession

SECONDS = 0.3


@asynccontextmanager
async def serve(connections: list[object], gate: asyncio.Event) -> AsyncIterator[str]:
    """Serve `/`, and `/slow`, which ends its answer once the gate is open; notes the connection of each request."""

    async def answer(request: web.Request) -> web.StreamResponse:
        connections.append(request.transport)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first ")
        if request.path == "/slow":
            await gate.wait()
        await response.write(b"last")
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ask(kept: RenewedSession, url: str) -> str:
    async with kept.lend() as session, session.get(url) as response:
        return await response.text()


def run(body: Callable[[RenewedSession, str, list[object], asyncio.Event], Awaitable[None]]) -> None:
    async def main() -> None:
        connections: list[object] = []
        gate = asyncio.Event()
        async with serve(connections, gate) as url:
            kept = RenewedSession(aiohttp.ClientSession, SECONDS)
            await body(kept, url, connections, gate)
            await kept.close()

    asyncio.run(main())


def test_a_connection_is_kept_for_a_while_and_then_another_is_opened():
    async def body(kept: RenewedSession, url: str, connections: list[object], _: asyncio.Event) -> None:
        for _turn in range(3):
            await ask(kept, url)
        assert len(set(connections)) == 1
        await asyncio.sleep(1.1 * SECONDS)
        await ask(kept, url)
        assert len(set(connections)) == 2

    run(body)


def test_an_answer_that_takes_longer_is_read_to_its_end():
    async def body(kept: RenewedSession, url: str, connections: list[object], gate: asyncio.Event) -> None:
        slow = asyncio.create_task(ask(kept, f"{url}/slow"))
        await asyncio.sleep(1.1 * SECONDS)
        assert await ask(kept, url) == "first last"
        gate.set()
        assert await slow == "first last"
        assert len(set(connections)) == 2

    run(body)
