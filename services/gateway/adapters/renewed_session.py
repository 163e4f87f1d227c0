"""An HTTP session that keeps connections, but none of them for long."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp


@dataclass
class _Held:
    session: aiohttp.ClientSession
    born: float = field(default_factory=time.monotonic)
    users: int = 0


class RenewedSession:
    """Lends a session, after `seconds` a new one; the one before is closed once nobody uses it.

    A server that is to end still answers on the connections that it has, while new ones go to others: whoever kept one
    for ever would be with it at its end.
    """

    def __init__(self, open_session: Callable[[], aiohttp.ClientSession], seconds: float) -> None:
        self._open_session = open_session
        self._seconds = seconds
        self._held = _Held(open_session())

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Lend the session for one request, until its answer has been read."""
        held = await self._renew()
        held.users += 1
        try:
            yield held.session
        finally:
            held.users -= 1
            if held is not self._held and not held.users:
                await held.session.close()

    async def _renew(self) -> _Held:
        before = self._held
        if time.monotonic() - before.born > self._seconds:
            self._held = _Held(self._open_session())
            if not before.users:
                await before.session.close()
        return self._held

    async def close(self) -> None:
        await self._held.session.close()
