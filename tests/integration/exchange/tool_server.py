"""A small HTTP server that plays the documented part of a tool's API: listings in pages, keys, and being busy."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

BASIC = "Basic " + base64.b64encode(b"pk-1:sk-1").decode()
BEARER = "Bearer sk-1"


@dataclass
class Tool:
    """Its records by path, all times of which it is asked for, and what else it should do."""

    listings: dict[str, list[dict[str, Any]]]
    per_page: int = 2
    busy: Counter[str] = field(default_factory=Counter)
    """By path: how many requests are told to wait before one is answered."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    verbatim: dict[str, bytes] = field(default_factory=dict)
    """By path: what is answered in place of a listing."""
    url: str = ""

    def answer(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, Any] | bytes]:
        self.asked.append((path, asked))
        if self.busy[path] > 0:
            self.busy[path] -= 1
            return 429, {"message": "rate limit"}
        if path in self.verbatim:
            return 200, self.verbatim[path]
        if path not in self.listings:
            return 404, {"message": "not found"}
        return 200, self._list(path, asked)

    def _list(self, path: str, asked: dict[str, str]) -> dict[str, Any]:
        records = self.listings[path]
        ids = [one["id"] for one in records]
        if path.startswith("/v1/"):
            begin = ids.index(asked["after"]) + 1 if "after" in asked else 0
        else:
            begin = int(asked.get("cursor") or (int(asked.get("page", 1)) - 1) * self.per_page)
        end = begin + self.per_page
        more = end < len(records)
        pages = -(-len(records) // self.per_page)
        by_cursor = "/v2/observations" in path or "/v3/" in path
        meta = ({"cursor": str(end)} if more else {}) if by_cursor else {"page": 1, "totalPages": pages}
        return {"data": records[begin:end], "meta": meta, "has_more": more}


class Handler(BaseHTTPRequestHandler):
    tool: Tool

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if self.headers.get("authorization") not in (BASIC, BEARER):
            self._reply(401, {"message": "Invalid credentials"})
            return
        self._reply(*self.tool.answer(parts.path, {name: one for name, [one] in parse_qs(parts.query).items()}))

    def _reply(self, status: int, body: dict[str, Any] | bytes) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "7")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(tool: Tool) -> Iterator[Tool]:
    """Serve on a port of its own; the tool's `url` says where."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"tool": tool}))
    Thread(target=server.serve_forever, daemon=True).start()
    tool.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield tool
    finally:
        server.shutdown()
        server.server_close()
