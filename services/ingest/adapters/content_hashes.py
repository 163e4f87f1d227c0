"""Content hashes of known event ids: the newest in memory, the rest from Postgres when it answers in time."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from services.ingest.metrics import LOOKUPS_FAILED

FindHashes = Callable[[str, Sequence[UUID]], dict[UUID, str]]
"""Content hashes by event id, of those of an API key's event ids that the curator knows."""

PAUSE_SECONDS = 5.0


class RecentContentHashes:
    """Content hashes by (API key, event id); at most `capacity`, the oldest are dropped first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._hashes: OrderedDict[tuple[str, UUID], str] = OrderedDict()

    def find(self, key_id: str, event_id: UUID) -> str | None:
        return self._hashes.get((key_id, event_id))

    def remember(self, key_id: str, event_id: UUID, content_hash: str) -> None:
        self._hashes[key_id, event_id] = content_hash
        if len(self._hashes) > self._capacity:
            self._hashes.popitem(last=False)

    def forget(self, key_id: str, event_id: UUID) -> None:
        self._hashes.pop((key_id, event_id), None)


class StoredContentHashes:
    """Fails open: without an answer in time it knows nothing, and asks nothing for the next five seconds.

    Callers that arrive while a query runs wait for the next one, which asks for all of them together.
    """

    def __init__(self, find: FindHashes, *, deadline_seconds: float) -> None:
        self._find = find
        self._deadline_seconds = deadline_seconds
        self._retry_at = 0.0
        self._executor = ThreadPoolExecutor(1, "lookup")
        self._waiting: list[tuple[str, Sequence[UUID], asyncio.Future[dict[UUID, str]]]] = []
        self._querying: asyncio.Task[None] | None = None

    async def find(self, key_id: str, event_ids: Sequence[UUID]) -> dict[UUID, str]:
        loop = asyncio.get_running_loop()
        if not event_ids or self._deadline_seconds == 0 or loop.time() < self._retry_at:
            return {}
        answer: asyncio.Future[dict[UUID, str]] = loop.create_future()
        self._waiting.append((key_id, event_ids, answer))
        if self._querying is None:
            self._querying = loop.create_task(self._query_for_all(loop))
        giving_up = loop.call_later(self._deadline_seconds, self._give_up, loop, answer)
        try:
            return await answer
        finally:
            giving_up.cancel()

    async def _query_for_all(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, []
            ids: defaultdict[str, list[UUID]] = defaultdict(list)
            for key_id, event_ids, _ in asked:
                ids[key_id] += event_ids
            try:
                known = await loop.run_in_executor(self._executor, self._find_each, ids)
            except Exception:
                for _, _, answer in asked:
                    self._give_up(loop, answer)
            else:
                for key_id, _, answer in asked:
                    if not answer.done():
                        answer.set_result(known[key_id])
        self._querying = None

    def _find_each(self, ids: dict[str, list[UUID]]) -> dict[str, dict[UUID, str]]:
        return {key_id: self._find(key_id, event_ids) for key_id, event_ids in ids.items()}

    def _give_up(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[dict[UUID, str]]) -> None:
        if not answer.done():
            answer.set_result({})
            LOOKUPS_FAILED.inc()
            self._retry_at = loop.time() + PAUSE_SECONDS

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
