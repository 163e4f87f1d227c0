"""A closed-loop load of chat requests: so many at a time, each connection asks again when its answer is complete."""

import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import uvloop

from bench.gateway.mock_model import TOKENS

LAST_TOKEN = TOKENS[-1].encode()
MESSAGES = [
    {"role": "system", "content": "You help the customers of a lamp shop. Be short and name the next step."},
    {"role": "user", "content": "The lamp I bought last week flickers. What now?"},
]


@dataclass(frozen=True)
class Target:
    """Where to ask, and with which key."""

    port: int
    key: str = "none"

    def make_request(self, user: str) -> bytes:
        """Put the user's name into the question too: not every proxy passes `user` on, and the mock's pace is in it."""
        messages = [*MESSAGES, {"role": "user", "content": f"I am {user}."}]
        body = json.dumps({"model": "heliotrope", "user": user, "messages": messages, "stream": True}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Load:
    """What one run saw. Latencies in seconds."""

    seconds: float = 0.0
    whole: list[float] = field(default_factory=list)
    first_byte: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def per_second(self) -> float:
        return len(self.whole) / self.seconds

    def calculate_percentile(self, percent: int) -> float:
        return statistics.quantiles(self.whole, n=100, method="inclusive")[percent - 1]


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, load: Load, stop_at: float, done: "asyncio.Future[None]") -> None:
        self._request, self._load, self._stop_at, self._done = request, load, stop_at, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._ask()

    def _ask(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None
        self._first_byte = 0.0
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        body = self._buffer.find(b"\r\n\r\n") + 4
        if body < 4:
            return
        if self._length is None:
            self._read_head(bytes(self._buffer[:body]).lower())
        if not self._first_byte and len(self._buffer) > body:
            self._first_byte = time.perf_counter() - self._asked
        if len(self._buffer) - body >= (self._length or 0) and (self._length or self._buffer.endswith(b"0\r\n\r\n")):
            self._take(time.perf_counter() - self._asked)

    def _read_head(self, head: bytes) -> None:
        self._length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)

    def _take(self, seconds: float) -> None:
        """Only an answer that is there to its last word counts as one."""
        if self._buffer.startswith(b"HTTP/1.1 200") and LAST_TOKEN in self._buffer:
            self._load.whole.append(seconds)
            self._load.first_byte.append(self._first_byte)
        else:
            self._load.failures += 1
        if time.perf_counter() < self._stop_at:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._stop_at:
            self._load.failures += 1
        if not self._done.done():
            self._done.set_result(None)


def run_load(target: Target, *, streams: int, seconds: float, pace: str) -> Load:
    """Ask for this long; what was asked by then is waited for and counts."""
    return uvloop.run(_run(target, streams, seconds, pace))


async def _run(target: Target, streams: int, seconds: float, pace: str) -> Load:
    loop, load = asyncio.get_running_loop(), Load()
    started = time.perf_counter()
    waiting = []
    for number in range(streams):
        done = loop.create_future()
        request = target.make_request(f"{pace}-{number}")
        connect = partial(_Connection, request, load, started + seconds, done)
        await loop.create_connection(connect, "127.0.0.1", target.port)
        waiting.append(done)
    async with asyncio.timeout(seconds + 60):
        await asyncio.gather(*waiting)
    load.seconds = time.perf_counter() - started
    return load
