"""Answer a chat request: choose a version, ask it, fall back, record, reply."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from services.gateway.adapters.routing import RoutingStore
from services.gateway.adapters.upstream import Upstream
from services.gateway.domain.assignment import Assignment, assign, compare, find_version, should_fall_back
from services.gateway.domain.completions import merge_completions
from services.gateway.domain.errors import ModelNotFound, NothingServed, UpstreamFailed
from services.gateway.domain.requests import ChatRequest
from services.gateway.handlers.admission import Admission
from services.gateway.handlers.exchange import Choice, Exchange
from services.gateway.handlers.mirroring import Mirror
from services.gateway.handlers.recording import Recorder
from services.gateway.handlers.streaming import CLIENT_LEFT, relay, rename
from services.gateway.metrics import FIRST_BYTE_SECONDS
from shared.auth import Caller
from shared.errors import Forbidden
from shared.events import Route, RoutingTable
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.ids import new_id
from shared.user_hashes import FindUserHashes

T = TypeVar("T")

OPERATORS = ("ops", "admin")


@dataclass(frozen=True)
class ChatHandler:
    """Answers chat requests."""

    routing: RoutingStore
    upstream: Upstream
    recorder: Recorder
    admission: Admission
    tokens: FeedbackTokens
    family: str
    find_user_hashes: FindUserHashes
    token_lifetime: timedelta
    mirror: Mirror
    now: Callable[[], datetime]

    def begin(self, request: ChatRequest, caller: Caller) -> Exchange:
        """Assign the request to a version, or with `n` to several.

        Raises: NothingServed, ModelNotFound, Forbidden.
        """
        table, now = self.routing.in_force, self.now()
        ids = [new_id() for _ in range(request.choices)]
        hashes = self.find_user_hashes()
        user = hashes.hash_user(request.user, request.conversation_id)
        probed = self._find_probed(table, request.model, caller)
        if table is None:
            raise NothingServed("no model is served yet: adopt one with 'heliotrope adopt'")
        self.admission.check(request, caller.key_id, user)
        feedback_token = None
        if probed is None:
            feedback_token = self.tokens.sign(FeedbackToken(tuple(ids), user, caller.key_id, now + self.token_lifetime))
        compared = compare(table, str(ids[0]), now) if probed is None and request.choices == 2 else None
        # of the first secret, so that a rotation moves nobody to the other arm
        subject = hashes.draw(request.user, request.conversation_id) or str(ids[0])
        assignments = compared or [probed or assign(table, subject)] * request.choices
        return Exchange(
            request=request,
            key_id=caller.key_id,
            user=user,
            conversation=hashes.hash_user(None, request.conversation_id),
            table=table,
            choices=_make_choices(ids, assignments),
            feedback_token=feedback_token,
            served_at=now,
            started=time.monotonic(),
            collected=compared is not None,
        )

    def _find_probed(self, table: RoutingTable | None, model: str, caller: Caller) -> Assignment | None:
        """Front ends name the family and get their user's arm; operators name a version, and probe it."""
        if model == self.family and caller.role in OPERATORS:
            raise Forbidden(f"a key of the role {caller.role} may only ask for a version, such as '1'")
        if model == self.family or table is None:
            return None
        route = find_version(table, model) if caller.role in OPERATORS else None
        if route is None:
            raise ModelNotFound(f"the model '{model}' does not exist here; ask for '{self.family}'", param="model")
        return Assignment("probe", route, 1.0)

    async def complete(self, exchange: Exchange) -> dict[str, Any]:
        """Return the whole reply, once the exchange is recorded. Cancelled, it cancels the model servers' work.

        Raises: UpstreamFailed, if no choice was answered.
        """
        try:
            bodies = await self._ask_all(exchange, self.upstream.complete)
        except asyncio.CancelledError:
            self.recorder.record(exchange, CLIENT_LEFT)
            raise
        for choice, body in bodies:
            choice.answer.add_completion(body)
            choice.total_seconds = exchange.elapsed_seconds
        await self.recorder.record_and_wait(exchange)
        if not bodies:
            raise _first_failure(exchange)
        body = bodies[0][1]
        if len(exchange.choices) > 1:
            body = merge_completions([body for _, body in bodies], [choice.answer for choice, _ in bodies])
        return rename(exchange, self.family, body) | {"heliotrope": exchange.describe()}

    async def open_stream(self, exchange: Exchange) -> AsyncGenerator[bytes, None]:
        """Return the server-sent events of the reply, once the model servers have begun to answer.

        Raises: UpstreamFailed.
        """
        try:
            streams = await self._ask_all(exchange, self.upstream.stream)
        except asyncio.CancelledError:
            self.recorder.record(exchange, CLIENT_LEFT)
            raise
        if not streams:
            await self.recorder.record_and_wait(exchange)
            raise _first_failure(exchange)
        return relay(exchange, streams, self.recorder, self.family)

    async def _ask_all(
        self, exchange: Exchange, ask: Callable[[Route, dict[str, Any], str], Awaitable[T]]
    ) -> list[tuple[Choice, T]]:
        """Return each choice with its answer, without those that failed before the first byte: they say why."""
        if len(exchange.choices) == 1:
            answers = [await self._ask(exchange, exchange.choices[0], ask)]
        else:
            answers = await asyncio.gather(*(self._ask(exchange, choice, ask) for choice in exchange.choices))
        return [
            (choice, answer) for choice, answer in zip(exchange.choices, answers, strict=True) if answer is not None
        ]

    async def _ask(
        self, exchange: Exchange, choice: Choice, ask: Callable[[Route, dict[str, Any], str], Awaitable[T]]
    ) -> T | None:
        """Ask the assigned version; the champion, when that one fails before its first byte."""
        request, champion = exchange.request, exchange.table.champion
        try:
            try:
                body = request.body_for(choice.served.model, choice.index)
                answer = await ask(choice.served, body, exchange.subject)
            except UpstreamFailed as failure:
                if not (choice.assignment.may_fall_back and should_fall_back(failure.upstream_status)):
                    raise
                choice.served, choice.fell_back_because = champion, failure.reason
                body = request.body_for(champion.model, choice.index)
                answer = await ask(champion, body, exchange.subject)
        except UpstreamFailed as failure:
            choice.failure, choice.total_seconds = failure, exchange.elapsed_seconds
            return None
        choice.first_byte_seconds = exchange.elapsed_seconds
        FIRST_BYTE_SECONDS.labels(choice.served.version).observe(choice.first_byte_seconds)
        return answer


def _make_choices(ids: list[UUID], assignments: list[Assignment]) -> list[Choice]:
    pairs = zip(ids, assignments, strict=True)
    return [Choice(index, interaction_id, assignment) for index, (interaction_id, assignment) in enumerate(pairs)]


def _first_failure(exchange: Exchange) -> UpstreamFailed:
    return next(choice.failure for choice in exchange.choices if choice.failure is not None)
