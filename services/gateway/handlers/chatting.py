"""Answer a chat request: choose a version, ask it, fall back, record, reply."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from services.gateway.adapters.routing import RoutingStore
from services.gateway.adapters.upstream import Upstream
from services.gateway.domain.assignment import Assignment, assign, find_version, should_fall_back
from services.gateway.domain.completions import may_be_last
from services.gateway.domain.errors import ModelNotFound, NothingServed, UpstreamFailed
from services.gateway.domain.requests import ChatRequest
from services.gateway.handlers.exchange import Exchange
from services.gateway.handlers.recording import Recorder
from services.gateway.metrics import FIRST_BYTE_SECONDS
from services.gateway.rendering import describe_error
from shared.auth import Caller
from shared.errors import Forbidden
from shared.events import Route, RoutingTable
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.ids import calculate_user_hash, new_id

T = TypeVar("T")
Chunks = AsyncGenerator[dict[str, Any], None]

OPERATORS = ("ops", "admin")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Chatting:
    """What it takes to answer."""

    routing: RoutingStore
    upstream: Upstream
    recorder: Recorder
    tokens: FeedbackTokens
    family: str
    user_hash_secret: str
    token_lifetime: timedelta
    now: Callable[[], datetime]

    def begin(self, request: ChatRequest, caller: Caller) -> Exchange:
        """Choose what is meant for the user.

        Raises: NothingServed, ModelNotFound, Forbidden.
        """
        table = self.routing.table
        interaction_ids = [new_id() for _ in range(request.choices)]
        user = calculate_user_hash(request.user, request.conversation_id, self.user_hash_secret)
        assignment, table = self._choose(table, request.model, caller, user or str(interaction_ids[0]))
        now = self.now()
        feedback_token = None
        if assignment.arm != "probe":
            token = FeedbackToken(tuple(interaction_ids), user, caller.key_id, now + self.token_lifetime)
            feedback_token = self.tokens.sign(token)
        return Exchange(
            request, caller.key_id, user, assignment, table, interaction_ids, feedback_token, now, time.monotonic()
        )

    def _choose(
        self, table: RoutingTable | None, model: str, caller: Caller, subject: str
    ) -> tuple[Assignment, RoutingTable]:
        """Front ends name the family and get their user's arm; operators name a version, and probe it."""
        if model == self.family and caller.role in OPERATORS:
            raise Forbidden(f"a key of the role {caller.role} may only ask for a version, such as '1'")
        if table is None:
            raise NothingServed("no model is served yet: adopt one with 'heliotrope adopt'")
        if model == self.family:
            return assign(table, subject), table
        route = find_version(table, model) if caller.role in OPERATORS else None
        if route is None:
            raise ModelNotFound(f"the model '{model}' does not exist here; ask for '{self.family}'", param="model")
        return Assignment("probe", route, 1.0), table

    async def complete(self, exchange: Exchange) -> dict[str, Any]:
        """The whole reply, once the exchange is recorded. Raises: UpstreamFailed."""
        try:
            body = await self._ask(exchange, lambda route: self.upstream.complete(route, exchange.request))
        except UpstreamFailed as failure:
            await self.recorder.record_and_wait(exchange, failure.reason)
            raise
        exchange.answers.add_completion(body)
        await self.recorder.record_and_wait(exchange)
        return self._brand(exchange, body) | {"heliotrope": exchange.describe()}

    async def open_stream(self, exchange: Exchange) -> AsyncGenerator[bytes, None]:
        """Server-sent events of the reply; the model server has begun to answer. Raises: UpstreamFailed."""
        try:
            chunks = await self._ask(exchange, lambda route: self.upstream.stream(route, exchange.request))
        except UpstreamFailed as failure:
            await self.recorder.record_and_wait(exchange, failure.reason)
            raise
        return self._relay(exchange, chunks)

    async def _ask(self, exchange: Exchange, ask: Callable[[Route], Awaitable[T]]) -> T:
        """Ask the version that is meant; the champion, when that one fails before its first byte."""
        champion = exchange.table.champion
        try:
            answer = await ask(exchange.served)
        except UpstreamFailed as failure:
            if exchange.assignment.arm not in ("canary", "holdback") or not should_fall_back(failure.upstream_status):
                raise
            exchange.served, exchange.fell_back_because = champion, failure.reason
            answer = await ask(champion)
        exchange.first_byte_seconds = time.monotonic() - exchange.started
        FIRST_BYTE_SECONDS.labels(exchange.served.version).observe(exchange.first_byte_seconds)
        return answer

    async def _relay(self, exchange: Exchange, chunks: Chunks) -> AsyncGenerator[bytes, None]:
        """Each chunk as it comes. Only one that may be the last is held back: it goes out, with what `heliotrope` has
        to say, when the exchange is on disk.
        """
        held: dict[str, Any] | None = None
        failure: UpstreamFailed | None = None
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    exchange.answers.add_chunk(chunk)
                    if held is not None:
                        yield _make_event(held)
                    branded = self._brand(exchange, chunk)
                    held = branded if may_be_last(chunk) else None
                    if held is None:
                        yield _make_event(branded)
        except UpstreamFailed as error:
            failure = error
        except (asyncio.CancelledError, GeneratorExit):
            self.recorder.record(exchange, "client_disconnected")
            raise
        await self.recorder.record_and_wait(exchange, failure.reason if failure else None)
        if failure is not None:
            if held is not None:
                yield _make_event(held)
            last = describe_error(failure)
        else:
            last = held or self._make_last_chunk(exchange)
        yield _make_event(last | {"heliotrope": exchange.describe()})
        yield b"data: [DONE]\n\n"

    def _brand(self, exchange: Exchange, body: dict[str, Any]) -> dict[str, Any]:
        """Under our own id and name: the model server's name for a model is its own affair."""
        if exchange.is_probe:
            return body | {"model": exchange.served.version}
        return body | {"id": str(exchange.interaction_ids[0]), "model": self.family}

    def _make_last_chunk(self, exchange: Exchange) -> dict[str, Any]:
        """For a stream that ended without a reason."""
        return {
            "id": str(exchange.interaction_ids[0]),
            "object": "chat.completion.chunk",
            "created": int(exchange.served_at.timestamp()),
            "model": self.family,
            "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
        }


def _make_event(content: dict[str, Any]) -> bytes:
    return b"data: " + _encode(content) + b"\n\n"
