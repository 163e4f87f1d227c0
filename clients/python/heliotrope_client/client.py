"""The clients: sync and async, with the same words."""

import asyncio
import random
import threading
import time
from types import TracebackType
from typing import Self

import httpx

from heliotrope_client.answers import MAX_BATCH, Verdict, assess, make_request, next_pause, split
from heliotrope_client.errors import NotStored, Rejected, raise_all
from heliotrope_client.events import Event


def _make_headers(key: str | None, feedback_token: str | None) -> dict[str, str]:
    if (key is None) == (feedback_token is None):
        raise ValueError("give either a key or a feedback token")
    return (
        {"authorization": f"Bearer {key}"} if key is not None else {"x-heliotrope-feedback-token": str(feedback_token)}
    )


def _lost(events: list[Event], error: httpx.TransportError) -> Verdict:
    return Verdict(events, type(error).__name__)


class Heliotrope:
    """Sends feedback to ingest at `base_url`; may be shared by threads."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        feedback_token: str | None = None,
        retries: int = 5,
        timeout_seconds: float = 15.0,
    ) -> None:
        headers = _make_headers(key, feedback_token)
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout_seconds)
        self._retries = retries
        self._queued: list[Event] = []
        self._lock = threading.Lock()

    def send(self, *events: Event) -> None:
        """Send events, and return when all are stored; at most 1,000 at once.

        Raises:
            Rejected: some are wrong; the others are stored.
            NotStored: it is not known whether some are stored.
        """
        waiting, rejected = list(events), list[Rejected]()
        for attempt in range(1, self._retries + 2):
            if not waiting:
                break
            verdict = self._try(waiting)
            waiting = verdict.again
            rejected += [verdict.rejected] if verdict.rejected else []
            if waiting:
                if attempt > self._retries:
                    raise NotStored(verdict.reason, waiting) from (rejected[0] if rejected else None)
                time.sleep(next_pause(attempt, verdict.pause_seconds, random.random()))
        raise_all(rejected)

    def _try(self, events: list[Event]) -> Verdict:
        path, body = make_request(events)
        try:
            return assess(events, self._http.post(path, json=body))
        except httpx.TransportError as error:
            return _lost(events, error)

    def queue(self, event: Event) -> None:
        """Keep it for the next flush. A full queue is flushed first; if that raises, the event was not kept."""
        with self._lock:
            full = len(self._queued) >= MAX_BATCH
        if full:
            self.flush()
        with self._lock:
            self._queued.append(event)

    def flush(self) -> None:
        """Send what is queued. What is not stored after all retries is queued again. Raises as `send` does."""
        with self._lock:
            waiting, self._queued = self._queued, []
        rejected: list[Rejected] = []
        for batch in split(waiting):
            waiting = waiting[len(batch) :]
            try:
                self.send(*batch)
            except Rejected as error:
                rejected.append(error)
            except NotStored as error:
                with self._lock:
                    self._queued = error.events + waiting + self._queued
                raise
        raise_all(rejected)

    def close(self) -> None:
        """Flush, and close the connections."""
        try:
            self.flush()
        finally:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncHeliotrope:
    """The same for an event loop."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        feedback_token: str | None = None,
        retries: int = 5,
        timeout_seconds: float = 15.0,
    ) -> None:
        headers = _make_headers(key, feedback_token)
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout_seconds)
        self._retries = retries
        self._queued: list[Event] = []

    async def send(self, *events: Event) -> None:
        """Send as `Heliotrope.send` does."""
        waiting, rejected = list(events), list[Rejected]()
        for attempt in range(1, self._retries + 2):
            if not waiting:
                break
            verdict = await self._try(waiting)
            waiting = verdict.again
            rejected += [verdict.rejected] if verdict.rejected else []
            if waiting:
                if attempt > self._retries:
                    raise NotStored(verdict.reason, waiting) from (rejected[0] if rejected else None)
                await asyncio.sleep(next_pause(attempt, verdict.pause_seconds, random.random()))
        raise_all(rejected)

    async def _try(self, events: list[Event]) -> Verdict:
        path, body = make_request(events)
        try:
            return assess(events, await self._http.post(path, json=body))
        except httpx.TransportError as error:
            return _lost(events, error)

    async def queue(self, event: Event) -> None:
        """Queue as `Heliotrope.queue` does."""
        if len(self._queued) >= MAX_BATCH:
            await self.flush()
        self._queued.append(event)

    async def flush(self) -> None:
        """Flush as `Heliotrope.flush` does."""
        waiting, self._queued = self._queued, []
        rejected: list[Rejected] = []
        for batch in split(waiting):
            waiting = waiting[len(batch) :]
            try:
                await self.send(*batch)
            except Rejected as error:
                rejected.append(error)
            except NotStored as error:
                self._queued = error.events + waiting + self._queued
                raise
        raise_all(rejected)

    async def close(self) -> None:
        """Flush, and close the connections."""
        try:
            await self.flush()
        finally:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
