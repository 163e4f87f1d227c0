"""The app factory: every process answers health, readiness and metrics, and renders errors in one way."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import HeliotropeError, Unavailable
from shared.ids import new_id
from shared.metrics import DEGRADED, REQUEST_SECONDS, REQUESTS
from shared.problems import render_errors_as_problems

logger = structlog.get_logger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_REQUESTS = 10_000

Check = Callable[[], None]
"""Raises when what it checks is not ready."""


class FirstContact:
    """A check of what all replicas share: raises until its first success, and never again."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._reached = False

    def __call__(self) -> None:
        if not self._reached:
            self._check()
            self._reached = True


OPERATIONS = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(frozen=True)
class Cors:
    """What browsers of these origins may send and read, on every answer, errors too."""

    origins: Sequence[str]
    headers: Sequence[str]
    exposed: Sequence[str] = ()

    def wrap(self, app: ASGIApp) -> ASGIApp:
        if not self.origins:
            return app
        return CORSMiddleware(
            app,
            allow_origins=self.origins,
            allow_methods=["GET", "POST"],
            allow_headers=self.headers,
            expose_headers=["retry-after", "x-request-id", *self.exposed],
        )


class TooBusy(Unavailable):
    title = "Too many requests at once"


class RequestLimiter:
    """Bounds how many requests one process handles at once; a context manager around each."""

    def __init__(self, max_requests: int) -> None:
        self._free = max_requests

    def __enter__(self) -> None:
        """Raises: TooBusy."""
        if self._free < 1:
            raise TooBusy("this process handles too many requests; try again")
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


def _describe_readiness(words: str, ready: bool, check: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "ready": {"type": "boolean"},
            "checks": {"type": "object", "additionalProperties": {"type": "string"}},
            "degraded": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["ready", "checks"],
    }
    example = {"ready": ready, "checks": {"keys": check}}
    return {"description": words, "content": {"application/json": {"schema": schema, "example": example}}}


_READY_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: _describe_readiness("what this replica needs is `ok`; `degraded` names what all replicas miss", True, "ok"),
    503: _describe_readiness("some check failed; the name of its error stands in place of `ok`", False, "TimeoutError"),
}


def create_app(
    service: str,
    *,
    checks: Mapping[str, Check],
    outages: Mapping[str, Check] | None = None,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    front: Callable[[ASGIApp], ASGIApp] = lambda rest: rest,
    cors: Cors | None = None,
    limiter: RequestLimiter | None = None,
    body_deadline_seconds: float = 20.0,
    decodes_bodies: bool = False,
) -> FastAPI:
    """Return an app with `/healthz`, `/readyz` (each check by name), `/metrics`, problem+json errors and request ids.

    A failed check is 503: this replica cannot work. A failed one of `outages` is `degraded` with 200, since what all
    replicas share is away for all of them, and a load balancer must not be left without any.

    `front` may answer requests before the framework does; it is given the framework's part of the app. An encoded body
    is refused where no route `decodes_bodies`.
    """

    @asynccontextmanager
    async def nothing(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = FrontedApp(title=f"Heliotrope {service}", lifespan=lifespan or nothing)
    app.put_in_front(lambda rest: front(cors.wrap(rest) if cors else rest))
    app.add_middleware(
        RequestContext,
        service=service,
        max_body_bytes=max_body_bytes,
        body_deadline_seconds=body_deadline_seconds,
        limiter=limiter or RequestLimiter(MAX_REQUESTS),
        decodes_bodies=decodes_bodies,
    )
    render_errors_as_problems(app)

    @app.get("/healthz", tags=["operations"])
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"], responses=_READY_RESPONSES)
    async def readyz() -> JSONResponse:
        results = await run_in_threadpool(_run_checks, checks)
        shared = await run_in_threadpool(_run_checks, outages or {})
        ready = all(result == "ok" for result in results.values())
        degraded = sorted(name for name, result in shared.items() if result != "ok") if ready else []
        for name in shared:
            DEGRADED.labels(service, name).set(name in degraded)
        body: dict[str, Any] = {"ready": ready, "checks": shared | results | {name: shared[name] for name in degraded}}
        return JSONResponse(body | ({"degraded": degraded} if degraded else {}), status_code=200 if ready else 503)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


class FrontedApp(FastAPI):
    """FastAPI with something in front of all of it."""

    fronted: ASGIApp

    def put_in_front(self, front: Callable[[ASGIApp], ASGIApp]) -> None:
        self.fronted = front(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.fronted(scope, receive, send)


def _run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: _run_check(check) for name, check in checks.items()}


def _run_check(check: Check) -> str:
    try:
        check()
    except Exception as error:
        return type(error).__name__
    return "ok"


class RequestContext:
    """Gives each request an id, a log context, metrics and a bound on its body; refuses those above the limit."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        max_body_bytes: int,
        body_deadline_seconds: float,
        limiter: RequestLimiter,
        decodes_bodies: bool = False,
    ) -> None:
        self._app = app
        self._decodes_bodies = decodes_bodies
        self._service = service
        self._max_body_bytes = max_body_bytes
        self._body_deadline_seconds = body_deadline_seconds
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        http_request_id = str(new_id())
        started = time.perf_counter()
        status = 500
        received, is_read = 0, False
        is_encoded = not self._decodes_bodies and _find_encoding(scope) not in ("", "identity")
        deadline = asyncio.get_running_loop().time() + self._body_deadline_seconds

        async def receive_bounded() -> Message:
            nonlocal received, is_read
            if is_read:
                return await receive()
            if is_encoded:
                raise HTTPException(415, "send the body as it is, without a content encoding")
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body was not there within {self._body_deadline_seconds:g} s") from None
            is_read = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise HTTPException(413, f"a body may have at most {self._max_body_bytes} bytes")
            return message

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", http_request_id.encode())]
            await send(message)

        structlog.contextvars.bind_contextvars(http_request_id=http_request_id)
        try:
            await self._handle(scope, receive_bounded, send_observed)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            observe_request(self._service, route, scope["method"], status, time.perf_counter() - started)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in OPERATIONS:
            await self._app(scope, receive, send)
            return
        try:
            with self._limiter:
                await self._app(scope, receive, send)
        except TooBusy as busy:
            response = await scope["app"].exception_handlers[HeliotropeError](Request(scope), busy)
            await response(scope, receive, send)


def _find_encoding(scope: Scope) -> str:
    """Return the content encoding that the body is said to have."""
    found = (value for name, value in scope["headers"] if name == b"content-encoding")
    return next(found, b"").decode("latin-1").strip().lower()


def observe_request(service: str, route: str, method: str, status: int, seconds: float) -> None:
    _count_requests(service, route, method, status).inc()
    _time_requests(service, route).observe(seconds)


# looking a child up by its labels takes longer than counting
_count_requests = lru_cache(1_000)(REQUESTS.labels)
_time_requests = lru_cache(1_000)(REQUEST_SECONDS.labels)
