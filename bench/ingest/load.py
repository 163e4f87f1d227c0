"""A closed-loop HTTP load generator that costs little: one process, raw HTTP/1.1 over kept-alive connections."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import uvloop

MakeBody = Callable[[int], bytes]


@dataclass
class Load:
    """What one run did: latencies in seconds, in order of arrival."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    path: str
    headers: dict[str, str]
    make_body: MakeBody

    def request(self, number: int) -> bytes:
        body = self.make_body(number)
        lines = [f"POST {self.path} HTTP/1.1", f"host: {self.host}:{self.port}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in {"content-type": "application/json", **self.headers}.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last one is complete, until told to stop."""

    def __init__(self, next_request: Callable[[], bytes | None], load: Load, done: asyncio.Future[None]) -> None:
        self._next_request = next_request
        self._load = load
        self._done = done
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        request = self._next_request()
        if request is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        status = _find_complete(self._buffer)
        if status is None:
            return
        self._buffer = b""
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._load.statuses[status] += 1
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError(f"the server closed the connection: {error!r}"))


def _find_complete(buffer: bytes) -> int | None:
    """The status, once the whole answer is there; one request at a time, so nothing follows it."""
    head, separator, body = buffer.partition(b"\r\n\r\n")
    if not separator:
        return None
    status = int(head[9:12])
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        return status if body.endswith(b"0\r\n\r\n") else None
    _, found, rest = lowered.partition(b"\r\ncontent-length:")
    length = int(rest.partition(b"\r\n")[0]) if found else 0
    return status if len(body) >= length else None


def run_load(target: Target, *, connections: int, seconds: float = 0.0, requests: int = 0) -> Load:
    """Run until `seconds` have passed, or `requests` have been sent; whichever was given."""
    return uvloop.run(_run(target, connections, seconds, requests))


async def _run(target: Target, connections: int, seconds: float, requests: int) -> Load:
    loop, load = asyncio.get_running_loop(), Load()
    sent = 0
    stop_at = time.perf_counter() + seconds if seconds else float("inf")

    def next_request() -> bytes | None:
        nonlocal sent
        if time.perf_counter() >= stop_at or (requests and sent >= requests):
            return None
        sent += 1
        return target.request(sent)

    started = time.perf_counter()
    waiting = [loop.create_future() for _ in range(connections)]
    for done in waiting:
        await loop.create_connection(partial(_Connection, next_request, load, done), target.host, target.port)
    await asyncio.gather(*waiting)
    load.seconds = time.perf_counter() - started
    return load
