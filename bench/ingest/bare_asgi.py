"""The ceiling: the least that an ASGI app can do with a post and still await the broker's acknowledgement.

It decodes nothing, checks nothing, counts nothing and bounds nothing. Same server, same client library, same settings.
"""

import asyncio
import os
import threading
import time
from collections import deque
from typing import Any

import uvicorn
from confluent_kafka import Producer

TOPIC = os.environ["BENCH_TOPIC"]
ANSWER = b'{"status":"accepted"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


class Acknowledgements:
    """One thread hears them; it wakes the loop once for all that have come meanwhile."""

    def __init__(self) -> None:
        self.producer = Producer(
            {
                "bootstrap.servers": os.environ["BENCH_BOOTSTRAP"],
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": float(os.environ.get("BENCH_LINGER_MS", "2")),
                "partitioner": "murmur2_random",
            }
        )
        self.heard: deque[tuple[asyncio.Future[bool], bool]] = deque()
        self.waking = False
        threading.Thread(target=self.poll, daemon=True).start()

    def poll(self) -> None:
        while True:
            self.producer.poll(0.2)

    def send(self, body: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future[bool]:
        waiting: asyncio.Future[bool] = loop.create_future()

        def delivered(error: Any, _: Any) -> None:
            self.heard.append((waiting, error is None))
            if not self.waking:
                self.waking = True
                loop.call_soon_threadsafe(self.resolve)

        self.producer.produce(TOPIC, body, str(time.monotonic_ns()).encode(), on_delivery=delivered)
        return waiting

    def resolve(self) -> None:
        self.waking = False
        while self.heard:
            waiting, stored = self.heard.popleft()
            waiting.set_result(stored)


acknowledgements = Acknowledgements()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    stored = await acknowledgements.send(body, asyncio.get_running_loop())
    await send({"type": "http.response.start", "status": 202 if stored else 503, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_config=None, access_log=False)
