"""The POST endpoints, and the middleware that answers them before the web framework sees the request.

Everything else, a browser's post with its `Origin` among it, goes through the framework to the same endpoints.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog
import uuid_utils
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingest.adapters.authentication import Authenticator, Principal
from services.ingest.domain.validation import decode_batch
from services.ingest.handlers.submission import Intake, Submission, describe_outcome
from services.ingest.schemas import Accepted, Outcome, Outcomes, Problem
from shared.errors import CLIENT_CLOSED_REQUEST, HeliotropeError
from shared.http import RequestLimiter, observe_request
from shared.problems import render_error, render_unexpected
from shared.rate_limits import RateLimiter
from shared.request_body import RequestBodyReader

Reply = tuple[int, bytes]
Endpoint = Callable[[Mapping[str, str], Receive], Awaitable[Reply]]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Endpoints:
    """Authenticates, limits, reads and submits; the names of headers are in lower case."""

    authenticator: Authenticator
    rate_limiter: RateLimiter
    token_limiter: RateLimiter
    body_reader: RequestBodyReader
    feedback: Intake
    interactions: Intake

    def by_path(self) -> dict[str, Endpoint]:
        return {
            "/v1/feedback": self.post_feedback,
            "/v1/feedback/batch": self.post_feedback_batch,
            "/v1/interactions": self.post_interaction,
            "/v1/interactions/batch": self.post_interaction_batch,
        }

    async def post_feedback(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        principal = self.authenticator.authenticate(headers)
        submission = await self._submit(self.feedback, principal, headers, receive)
        return 202, _encode(Accepted(event_id=submission.event_id))

    async def post_interaction(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        principal = self.authenticator.authenticate_key(headers)
        submission = await self._submit(self.interactions, principal, headers, receive)
        return 202, _encode(Accepted(event_id=submission.event_id, interaction_id=submission.event_id))

    async def post_feedback_batch(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        principal = self.authenticator.authenticate_key(headers)
        return await self._submit_batch(self.feedback, principal, headers, receive)

    async def post_interaction_batch(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        principal = self.authenticator.authenticate_key(headers)
        return await self._submit_batch(self.interactions, principal, headers, receive)

    async def _submit(
        self, intake: Intake, principal: Principal, headers: Mapping[str, str], receive: Receive
    ) -> Submission:
        limiter = self.rate_limiter if principal.token is None else self.token_limiter
        limiter.take(principal.budget, 1)
        return await intake.submit(await self.body_reader.read(headers, receive), principal)

    async def _submit_batch(
        self, intake: Intake, principal: Principal, headers: Mapping[str, str], receive: Receive
    ) -> Reply:
        raws = decode_batch(await self.body_reader.read(headers, receive))
        self.rate_limiter.take(principal.key_id, len(raws))
        results = await intake.submit_all(raws, principal)
        outcomes = [_describe(index, submission, error) for index, (submission, error) in enumerate(results)]
        return 200, _encode(Outcomes(outcomes))


def _describe(index: int, submission: Submission | None, error: HeliotropeError | None) -> Outcome:
    event_id = submission.event_id if submission else msgspec.UNSET
    if error is None:
        return Outcome("accepted", event_id)
    errors = [{"field": f"events.{index}.{wrong.field}", "message": wrong.message} for wrong in error.errors]
    problem = Problem(error.title, error.status, error.detail, errors=errors or msgspec.UNSET)
    return Outcome(describe_outcome(error), event_id, problem)


class HotPath:
    """ASGI middleware; answers as the framework would: the same bodies, problems and metrics."""

    def __init__(self, service: str, endpoints: Mapping[str, Endpoint], app: ASGIApp, limiter: RequestLimiter) -> None:
        self._service = service
        self._endpoints = endpoints
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (endpoint := self._endpoints.get(scope["path"])):
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            if "origin" not in headers:
                await self._answer(endpoint, headers, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer(
        self, endpoint: Endpoint, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        started = time.perf_counter()
        http_request_id = str(uuid_utils.uuid7())
        status = CLIENT_CLOSED_REQUEST
        try:
            with self._limiter:
                status, body = await endpoint(headers, receive)
            await _send(send, status, [(b"content-type", b"application/json")], body, http_request_id)
        except ClientDisconnect:
            pass
        except Exception as error:
            with structlog.contextvars.bound_contextvars(http_request_id=http_request_id):
                rendered = (
                    render_error(error)
                    if isinstance(error, HeliotropeError)
                    else render_unexpected(scope["path"], error)
                )
            status = rendered.status_code
            known = [pair for pair in rendered.raw_headers if pair[0] != b"content-length"]
            await _send(send, status, known, bytes(rendered.body), http_request_id)
        finally:
            observe_request(self._service, scope["path"], "POST", status, time.perf_counter() - started)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, http_request_id: str) -> None:
    ours = [(b"content-length", str(len(body)).encode()), (b"x-request-id", http_request_id.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + ours})
    await send({"type": "http.response.body", "body": body})
