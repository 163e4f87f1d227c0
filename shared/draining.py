"""How a server ends: not ready first, then what runs is finished, then the end."""

import signal
import threading
from dataclasses import dataclass
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSE = (b"connection", b"close")
_READINESS = "/readyz"
_NOT_READY = b'{"ready":false,"checks":{"stopping":"Stopping"}}'


@dataclass
class Drain:
    """Whether this process has been told to end."""

    has_begun: bool = False


class DrainingApp:
    """An app that says so once its drain has begun.

    `/readyz` is then 503, whatever its checks say, so that no load balancer sends more; every answer closes its
    connection, so that clients who keep theirs come back on one to another replica. What streams without end finds the
    drain in its scope, as `drain`.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["drain"] = self._drain
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._drain.has_begun and scope["path"] == _READINESS:
            await _refuse_readiness(send)
        else:
            await self._app(scope, receive, self._close_after(send))

    def _close_after(self, send: Send) -> Send:
        async def send_closing(message: Message) -> None:
            if self._drain.has_begun and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), CLOSE]
            await send(message)

        return send_closing


async def _refuse_readiness(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_NOT_READY)).encode()), CLOSE]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _NOT_READY})


class DrainingServer(uvicorn.Server):
    """A server that goes on accepting for `drain_seconds` after SIGTERM: load balancers need them to learn of it.

    SIGINT, and a second signal, end it at once.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_seconds: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        waits = sig == signal.SIGTERM and self._drain_seconds > 0 and not self._drain.has_begun
        self._drain.has_begun = True
        if waits:
            timer = threading.Timer(self._drain_seconds, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()
        else:
            super().handle_exit(sig, frame)
