"""The short way in: a front end's posts are answered before the framework sees them.

Everything else, a browser's post with its `Origin` among it, takes the framework's way to the same doors.
"""

import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
import uuid_utils
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import HeliotropeError
from shared.http import observe_request, render_error, render_unexpected

Reply = tuple[int, bytes]
Door = Callable[[Mapping[str, str], Receive], Awaitable[Reply]]

_NOBODY_LISTENS = 499


class HotPath:
    """Requests and answers as the framework's way has them: same bodies, same problems, same metrics."""

    def __init__(self, service: str, doors: Mapping[str, Door], rest: ASGIApp) -> None:
        self._service = service
        self._doors = doors
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (door := self._doors.get(scope["path"])):
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            if "origin" not in headers:
                await self._answer(door, headers, scope, receive, send)
                return
        await self._rest(scope, receive, send)

    async def _answer(self, door: Door, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        http_request_id = str(uuid_utils.uuid7())
        status = _NOBODY_LISTENS
        try:
            status, body = await door(headers, receive)
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
