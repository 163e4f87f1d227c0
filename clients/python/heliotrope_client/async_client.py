"""The client for an event loop."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from heliotrope_client.client import MAX_QUEUED, MAX_QUEUED_BYTES, log_rejected, logger, make_headers
from heliotrope_client.errors import HeliotropeError, QueueFull, Rejected
from heliotrope_client.items import Item
from heliotrope_client.queues import open_queue
from heliotrope_client.sending import Heard, Pause, Post, advance, deliver, drain


class AsyncHeliotrope:
    """Sends as `Heliotrope` does, for an event loop."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        feedback_token: str | None = None,
        retries: int = 5,
        timeout_seconds: float = 15.0,
        queue_path: Path | str | None = None,
        max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        flush_every_seconds: float | None = None,
        on_rejected: Callable[[Rejected], None] = log_rejected,
    ) -> None:
        """Open it as `Heliotrope` is opened; a task of the loop flushes, from the first `queue` on."""
        headers = make_headers(key, feedback_token)
        self._queue = open_queue(queue_path, max_queued, max_queued_bytes)
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout_seconds)
        self._retries, self._on_rejected = retries, on_rejected
        self._flushing = asyncio.Lock()
        self._flush_every_seconds = flush_every_seconds
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many are queued."""
        return self._queue.count()

    async def send(self, *items: Item) -> None:
        """Send as `Heliotrope.send` does."""
        steps, heard = deliver(items, self._retries), None
        while (step := advance(steps, heard)) is not None:
            heard = await self._do(step)

    async def queue(self, item: Item) -> None:
        """Queue as `Heliotrope.queue` does."""
        if self._flush_every_seconds is not None and self._task is None:
            self._task = asyncio.create_task(self._run(self._flush_every_seconds))
        try:
            await asyncio.to_thread(self._queue.add, item)
        except QueueFull:
            if self._task is not None:
                raise
            await self.flush()
            await asyncio.to_thread(self._queue.add, item)

    async def flush(self) -> None:
        """Flush as `Heliotrope.flush` does."""
        async with self._flushing:
            steps, heard = drain(self._queue, self._retries), None
            while (step := await asyncio.to_thread(advance, steps, heard)) is not None:
                heard = await self._do(step)

    async def close(self) -> None:
        """Flush, and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            await self.flush()
        finally:
            await self._http.aclose()
            self._queue.close()

    async def _run(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.flush()
            except Rejected as error:
                self._on_rejected(error)
            except HeliotropeError as error:
                logger.info("still queued: %s", error)

    async def _do(self, step: Post | Pause) -> Heard:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._http.post(step.path, json=step.body)
        except httpx.TransportError as error:
            return error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
