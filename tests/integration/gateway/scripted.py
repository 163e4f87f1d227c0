"""A gateway without Kafka and Postgres, in front of a model server that answers with the bytes that it is given."""

import json
import socketserver
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from services.gateway.adapters.breakers import Breakers
from services.gateway.adapters.routing import RoutingStore
from services.gateway.adapters.spool import Spool
from services.gateway.adapters.upstream import Upstream
from services.gateway.bootstrap import create_http, make_admission, make_mirror
from services.gateway.handlers.chat import ChatHandler
from services.gateway.handlers.recording import Recorder
from services.gateway.settings import GatewaySettings
from shared.auth import Caller, KeyRing, StoredKey
from shared.bus import decode
from shared.events import InteractionRecorded, Shadow
from shared.feedback_tokens import FeedbackTokens
from shared.secret_hashes import calculate_secret_hash
from shared.user_hashes import UserHashes
from tests.builders import make_route, make_routing
from tests.integration.gateway.model_server import serve, wait_until

KEY = f"hk_{0:012x}_{'f' * 43}"
HEADERS = {"authorization": f"Bearer {KEY}"}
SHADOWED = UUID(int=8)
MESSAGES = [{"role": "user", "content": "Where is my order?"}]

Script = Sequence[bytes | float]
"""What a model server writes to its socket; a number is a pause in seconds."""


def make_events(*data: Any, comments: Sequence[str] = ()) -> bytes:
    """A stream of server-sent events: comments first, texts as they are, anything else as JSON."""
    lines = [f": {comment}\n\n" for comment in comments]
    lines += [f"data: {item if isinstance(item, str) else json.dumps(item)}\n\n" for item in data]
    return "".join(lines).encode()


def make_reply(body: bytes, content_type: str = "text/event-stream", status: str = "200 OK") -> list[bytes]:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return [head.encode() + body]


def make_broken_reply(body: bytes) -> list[bytes]:
    """A chunked body whose connection closes before its end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head + f"{len(body):x}\r\n".encode() + body + b"\r\n"]


class ScriptedServer(socketserver.ThreadingTCPServer):
    """Plays one script for each request, the last one for all further ones."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *scripts: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.scripts = [list(script) for script in scripts]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.hung_up = threading.Event()
        """Set when a client closes its connection in the middle of a script."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Connection(socketserver.StreamRequestHandler):
    server: ScriptedServer

    def handle(self) -> None:
        headers: dict[str, str] = {}
        self.rfile.readline()
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        self.server.headers.append(headers)
        self.server.requests.append(json.loads(self.rfile.read(int(headers.get("content-length", 0))) or b"{}"))
        scripts = self.server.scripts
        for step in scripts.pop(0) if len(scripts) > 1 else scripts[0]:
            if isinstance(step, bytes):
                self.wfile.write(step)
            elif self._waits(step):
                return

    def _waits(self, seconds: float) -> bool:
        """Whether the client hung up meanwhile."""
        self.connection.settimeout(seconds)
        try:
            if self.connection.recv(1) == b"":
                self.server.hung_up.set()
                return True
        except TimeoutError:
            pass
        except OSError:
            self.server.hung_up.set()
            return True
        return False


@contextmanager
def play(*scripts: Script) -> Iterator[ScriptedServer]:
    with ScriptedServer(*scripts) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


class LightGateway:
    """What is recorded lies in the spool, since nothing relays it."""

    def __init__(self, home: Path, own: GatewaySettings) -> None:
        self.own = own
        self.routing = RoutingStore(home / "routing.json", "heliotrope")
        self.spool = Spool(home / "spool.sqlite", max_rows=1_000, max_bytes=2**26)
        caller = Caller(KEY.split("_")[1], "frontend", "frontend")
        ring = KeyRing(lambda: {caller.key_id: StoredKey(caller, calculate_secret_hash(KEY.split("_", 2)[2]))})
        ring.refresh()
        self.breakers = Breakers(
            max_failures=own.breaker_failures, min_users=own.breaker_users, open_seconds=own.breaker_open_seconds
        )
        upstream = Upstream(
            self.breakers,
            max_connections=own.max_connections,
            connect_timeout_seconds=own.connect_timeout_seconds,
            answer_timeout_seconds=own.answer_timeout_seconds,
            idle_timeout_seconds=own.idle_timeout_seconds,
            stream_timeout_seconds=own.stream_timeout_seconds,
            api_key=own.model_server_key.get_secret_value(),
        )
        admission = make_admission(own)
        recorder = Recorder(
            self.spool,
            admission.charge,
            topic_prefix="",
            max_event_bytes=own.max_event_bytes,
            deadline_seconds=own.spool_deadline_seconds,
        )
        self.compared: list[Mapping[str, Any]] = []
        self.mirror = make_mirror(own, self.routing, self._take)
        chat = ChatHandler(
            routing=self.routing,
            upstream=upstream,
            recorder=recorder,
            admission=admission,
            tokens=FeedbackTokens("a token secret of tests"),
            family="heliotrope",
            find_user_hashes=lambda: UserHashes("a hash secret of tests"),
            token_lifetime=timedelta(days=1),
            mirror=self.mirror,
            now=lambda: datetime.now(UTC),
        )

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self.spool.start()
            async with upstream, self.mirror.running():
                yield
            self.spool.close()

        self.app = create_http(chat, ring, own, {"routing": self.routing.check}, lifespan, {})
        self.url = ""

    def route_to(
        self, champion: str, canary: str | None = None, percent: float = 100, shadow: str | None = None
    ) -> None:
        """`shadow`: where a candidate is asked in secret, in place of a canary."""
        generation = self.routing.table.generation + 1 if self.routing.table else 1
        self.routing.offer(
            make_routing(
                make_route("1", champion),
                generation=generation,
                canary=make_route("2", canary) if canary else None,
                canary_percent=percent if canary else 0.0,
                shadow=Shadow(route=make_route("2", shadow), percent=percent, rollout_id=SHADOWED) if shadow else None,
            )
        )

    async def _take(self, comparison: Mapping[str, Any]) -> bool:
        self.compared.append(comparison)
        return True

    def post(self, *, timeout: float = 20, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        content = {"model": "heliotrope", "messages": MESSAGES} | body
        return httpx.post(
            f"{self.url}/v1/chat/completions", json=content, headers=HEADERS | (headers or {}), timeout=timeout
        )

    def recorded(self, count: int = 1) -> list[InteractionRecorded]:
        """The interactions in the spool, once `count` are there."""
        wait_until(lambda: self.spool.count() >= count)
        time.sleep(0.05)
        events = [decode(record) for _, record in self.spool.read(1_000)]
        assert len(events) == count
        return [event for event in events if isinstance(event, InteractionRecorded)]


@contextmanager
def open_gateway(home: Path, **settings: Any) -> Iterator[LightGateway]:
    gateway = LightGateway(home, GatewaySettings(**settings))
    with serve(gateway.app) as gateway.url:
        yield gateway


def read_stream(reply: httpx.Response) -> list[Any]:
    """The data of a stream's events, decoded; `[DONE]` as it is."""
    lines = [line[6:] for line in reply.text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]
