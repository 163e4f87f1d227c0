"""Ask a candidate in its shadow what the champion has answered: afterwards, seldom, and for nobody to see."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from services.gateway.adapters.routing import RoutingStore
from services.gateway.adapters.upstream import Upstream
from services.gateway.domain.completions import Answer
from services.gateway.domain.errors import UpstreamFailed
from services.gateway.domain.mirroring import (
    Measured,
    Mirrored,
    combine_preferences,
    derive_mirrored,
    describe_comparison,
    extract_text,
    find_group,
    is_clients_fault,
    is_drawn,
    measure_answer,
)
from services.gateway.handlers.exchange import Exchange
from services.gateway.metrics import MIRRORED
from shared.events import Route
from shared.rubric import derive_request, read_preference

logger = structlog.get_logger(__name__)

MOST_BYTES = 256 * 2**10
"""A longer request is not mirrored: those that wait stay in memory."""
JUDGE_TOKENS = 1_024
"""Room to think before the verdict."""

Report = Callable[[Mapping[str, Any]], Awaitable[bool]]
"""Tells the deployer of a comparison; returns whether it took it. Raises nothing."""


@dataclass
class Mirror:
    """A bounded queue and a few workers with connections of their own: what finds no room is dropped, and counted.

    Of one group of users one answer waits at a time, so that nobody fills the queue. Users
    wait for nothing here. `judge`: a model of `judge_upstream` that compares the texts, in both orders.
    """

    routing: RoutingStore
    upstream: Upstream
    report: Report
    judge: Route | None
    judge_upstream: Upstream
    waiting: int
    workers: int
    queue: asyncio.Queue[Mirrored] = field(init=False)
    groups: set[int] = field(init=False, default_factory=set)
    """Whose answers wait."""

    def __post_init__(self) -> None:
        self.queue = asyncio.Queue(self.waiting)

    def offer(self, exchange: Exchange) -> None:
        """Take an exchange whose reply has gone out, if its answer is the champion's and among the shadow's share."""
        choice, shadow = exchange.choices[0], exchange.table.shadow
        if shadow is None or len(exchange.choices) > 1 or choice.assignment.arm != "champion":
            return
        if is_clients_fault(choice.failure) or not is_drawn(shadow, str(choice.interaction_id)):
            return
        body, group = derive_mirrored(exchange.request, shadow.route.model), find_group(shadow, exchange.subject)
        if self.queue.full() or group in self.groups or len(msgspec.json.encode(body)) > MOST_BYTES:
            MIRRORED.labels("dropped").inc()
            return
        seconds = exchange.elapsed_seconds if choice.total_seconds is None else choice.total_seconds
        champion = measure_answer(choice.answer, seconds, failed=choice.failure is not None)
        self.queue.put_nowait(Mirrored(shadow, body, champion, group, extract_text(choice.answer)))
        self.groups.add(group)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask and report until the block ends; what waits then is dropped."""
        async with self.upstream, self.judge_upstream:
            tasks = [asyncio.create_task(self._work()) for _ in range(self.workers)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            mirrored = await self.queue.get()
            self.groups.discard(mirrored.group)
            try:
                MIRRORED.labels(await self._compare(mirrored)).inc()
            except Exception:
                logger.exception("mirror_failed")
                MIRRORED.labels("failed").inc()

    async def _compare(self, mirrored: Mirrored) -> str:
        """Ask the candidate, and say what came of it; returns the outcome for the metric."""
        table = self.routing.in_force
        if table is None or table.shadow != mirrored.shadow:
            return "withdrawn"
        started, answer, failure = time.monotonic(), Answer(), None
        try:
            answer.add_completion(await self.upstream.complete(mirrored.shadow.route, mirrored.body, "shadow"))
        except UpstreamFailed as error:
            failure = error
        candidate = measure_answer(answer, time.monotonic() - started, failed=failure is not None)
        preference = await self._judge(mirrored, candidate, extract_text(answer))
        comparison = describe_comparison(str(uuid4()), mirrored, candidate, preference)
        return "compared" if await self.report(comparison) else "unreported"

    async def _judge(self, mirrored: Mirrored, candidate: Measured, text: str) -> float | None:
        """Return which text the judge prefers; None without a judge, or without two texts."""
        if self.judge is None or candidate.failed or mirrored.champion.failed:
            return None
        if text == mirrored.text:
            return 0.5
        first = await self._prefer(self.judge, mirrored.body, text, mirrored.text)
        return combine_preferences(first, await self._prefer(self.judge, mirrored.body, mirrored.text, text))

    async def _prefer(self, judge: Route, body: dict[str, Any], first: str, second: str) -> float | None:
        messages = derive_request(body["messages"], first, second)
        asked = {"model": judge.model, "messages": messages, "max_tokens": JUDGE_TOKENS, "temperature": 0}
        answer = Answer()
        try:
            answer.add_completion(await self.judge_upstream.complete(judge, asked, "shadow"))
        except UpstreamFailed as failure:
            logger.warning("shadow_judge_failed", reason=failure.reason)
            return None
        return read_preference(answer.text[:MOST_BYTES])
