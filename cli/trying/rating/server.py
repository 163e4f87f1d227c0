"""The page's server: on this machine only, under an address that nobody can guess."""

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar

from cli.trying.rating.session import Session
from shared.page_policy import hash_source

HOST = "127.0.0.1"
LARGEST_BODY = 1_000
PATIENCE_SECONDS = 30.0
PART = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True)
class Served:
    """A running page: where it is, and what waits until it is over."""

    url: str
    wait: Callable[[float], bool]
    """Wait so many seconds at most; says whether it is over."""


@contextmanager
def serve(session: Session) -> Iterator[Served]:
    """Serve the session's page until the context ends."""
    over = threading.Event()
    token = secrets.token_hex(16)
    handler = type("Handler", (_Handler,), {"session": session, "over": over, "token": token, "page": _load_page()})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield Served(f"http://{HOST}:{server.server_port}/{token}/", over.wait)
        finally:
            server.shutdown()
            thread.join()


def _load_page() -> tuple[str, str]:
    """Return the page, and the policy that admits its own script and style alone."""
    page = (files("cli.trying.rating") / "page.html").read_text(encoding="utf-8")
    sources = {name: hash_source(text) for name, text in PART.findall(page)}
    policy = f"default-src 'none'; style-src {sources['style']}; script-src {sources['script']}; connect-src 'self'"
    return page, f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_SECONDS
    session: ClassVar[Session]
    over: ClassVar[threading.Event]
    token: ClassVar[str]
    page: ClassVar[tuple[str, str]]
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self) -> None:
        place = self._find_place()
        if place == "":
            self._send(200, "text/html; charset=utf-8", self.page[0].encode())
        elif place == "next":
            self._tell()
        else:
            self._send(404, "text/plain", b"not found")

    def do_POST(self) -> None:
        place, said = self._find_place(), self._read()
        if place not in ("vote", "end") or said is None:
            self._send(404 if said is not None else 400, "text/plain", b"not understood")
            return
        with self.lock:
            if place == "end":
                self.session.is_ended = True
            elif said.get("vote") in ("left", "right", "tie") and isinstance(said.get("number"), int):
                self.session.take(said["number"], said["vote"])
        self._tell()

    def _find_place(self) -> str | None:
        """Return what is asked for below the token; None without it, or by another name than this machine's."""
        names = {f"{name}:{self.connection.getsockname()[1]}" for name in (HOST, "localhost")}
        prefix = f"/{self.token}/"
        is_ours = self.headers.get("Host") in names and self.path.startswith(prefix)
        return self.path.removeprefix(prefix) if is_ours else None

    def _read(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
            return None
        try:
            said = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else None

    def _tell(self) -> None:
        with self.lock:
            told = self.session.show()
        self._send(200, "application/json", json.dumps(told).encode())
        if told["over"]:
            self.over.set()

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", self.page[1])
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal tells how the try is getting on."""
