"""Content hashes that the curator knows, when Postgres says so in time."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from services.ingest.metrics import LOOKUPS_FAILED

Find = Callable[[str, Sequence[UUID]], dict[UUID, str]]

PAUSE_SECONDS = 5.0


class KnownHashes:
    """Fails open: without an answer in time it knows nothing, and asks nothing for the next five seconds.

    Who asks while a query is under way waits for the next one, which asks for all of them together.
    """

    def __init__(self, find: Find, *, deadline_seconds: float) -> None:
        self._find = find
        self._deadline_seconds = deadline_seconds
        self._ask_again_at = 0.0
        self._asking = ThreadPoolExecutor(1, "lookup")
        self._waiting: list[tuple[str, Sequence[UUID], asyncio.Future[dict[UUID, str]]]] = []
        self._turn: asyncio.Task[None] | None = None

    async def find(self, key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
        loop = asyncio.get_running_loop()
        if not event_ids or self._deadline_seconds == 0 or loop.time() < self._ask_again_at:
            return {}
        answer: asyncio.Future[dict[UUID, str]] = loop.create_future()
        self._waiting.append((key_id, event_ids, answer))
        if self._turn is None:
            self._turn = loop.create_task(self._ask_for_all(loop))
        giving_up = loop.call_later(self._deadline_seconds, self._give_up, loop, answer)
        try:
            return await answer
        finally:
            giving_up.cancel()

    async def _ask_for_all(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, []
            ids: defaultdict[str, list[UUID]] = defaultdict(list)
            for key_id, event_ids, _ in asked:
                ids[key_id] += event_ids
            try:
                known = await loop.run_in_executor(self._asking, self._find_each, ids)
            except Exception:
                for _, _, answer in asked:
                    self._give_up(loop, answer)
            else:
                for key_id, _, answer in asked:
                    if not answer.done():
                        answer.set_result(known[key_id])
        self._turn = None

    def _find_each(self, ids: dict[str, list[UUID]]) -> dict[str, dict[UUID, str]]:
        return {key_id: self._find(key_id, event_ids) for key_id, event_ids in ids.items()}

    def _give_up(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[dict[UUID, str]]) -> None:
        if not answer.done():
            answer.set_result({})
            LOOKUPS_FAILED.inc()
            self._ask_again_at = loop.time() + PAUSE_SECONDS

    def close(self) -> None:
        self._asking.shutdown(wait=False, cancel_futures=True)
