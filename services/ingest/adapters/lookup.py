"""Content hashes that the curator knows, when Postgres says so in time."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from services.ingest.metrics import LOOKUPS_FAILED

Find = Callable[[str, Sequence[UUID]], dict[UUID, str]]

PAUSE_SECONDS = 5.0


class KnownHashes:
    """Fails open: without an answer in time it knows nothing, and asks nothing for the next five seconds."""

    def __init__(self, find: Find, *, deadline_seconds: float) -> None:
        self._find = find
        self._deadline_seconds = deadline_seconds
        self._ask_again_at = 0.0
        self._asking = ThreadPoolExecutor(2, "lookup")

    async def find(self, key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
        loop = asyncio.get_running_loop()
        if not event_ids or self._deadline_seconds == 0 or loop.time() < self._ask_again_at:
            return {}
        asked = loop.run_in_executor(self._asking, self._find, key_id, event_ids)
        try:
            return await asyncio.wait_for(asked, self._deadline_seconds)
        except Exception:
            LOOKUPS_FAILED.inc()
            self._ask_again_at = loop.time() + PAUSE_SECONDS
            return {}

    def close(self) -> None:
        self._asking.shutdown(wait=False, cancel_futures=True)
