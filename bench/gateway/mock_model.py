"""`python -m bench.gateway.mock_model <port>`: a model server that costs next to nothing.

It speaks as much of OpenAI's protocol as the benchmark needs: canned answers over raw HTTP/1.1. To whoever says
`I am paced-...` it answers like a model, 50 ms to the first token, then one every 10 ms; others do not wait.
"""

import asyncio
import json
import sys
from typing import Any, cast

import uvloop

TOKENS = [f" token{number}" for number in range(10)]
FIRST_SECONDS = 0.050
TOKEN_SECONDS = 0.010
COMMON = {"id": "chatcmpl-1", "created": 1_790_000_000, "model": "mock", "system_fingerprint": "fp"}
USAGE = {"prompt_tokens": 11, "completion_tokens": len(TOKENS), "total_tokens": 11 + len(TOKENS)}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _make_chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    content = {**COMMON, "object": "chat.completion.chunk", "choices": [choice], **more}
    return _frame(b"data: " + json.dumps(content).encode() + b"\n\n")


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _make_whole() -> bytes:
    message = {"role": "assistant", "content": "".join(TOKENS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**COMMON, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


WHOLE = _make_whole()
PIECES = [
    STREAM_HEAD + _make_chunk({"role": "assistant", "content": ""}),
    *(_make_chunk({"content": token}) for token in TOKENS),
    _make_chunk({}, "stop") + _frame(b"data: [DONE]\n\n") + b"0\r\n\r\n",
]


class MockModel(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._buffer = b""
        paced = b"I am paced-" in body
        if b'"stream":true' in body or b'"stream": true' in body:
            self._say(0, paced)
        elif paced:
            self._loop.call_later(FIRST_SECONDS + TOKEN_SECONDS * len(TOKENS), self._transport.write, WHOLE)
        else:
            self._transport.write(WHOLE)

    def _say(self, position: int, paced: bool) -> None:
        if position == len(PIECES) or self._transport.is_closing():
            return
        if paced:
            wait = FIRST_SECONDS if position == 0 else TOKEN_SECONDS
            self._loop.call_later(wait, self._write, position, paced)
        else:
            self._loop.call_soon(self._write, position, paced)

    def _write(self, position: int, paced: bool) -> None:
        self._transport.write(PIECES[position])
        self._say(position + 1, paced)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(MockModel, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
