"""A server in a process of its own: told to end it drains, finishes what runs, and is gone; whom it believes."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.process import STARTUP_FAILURE

PROGRAM = """
import sys, time
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from shared.http import create_app
from shared.process import Worker, run_workers, serve
from shared.settings import Settings

def count():
    for number in range(20):
        yield f"{number}\\n"
        time.sleep(0.15)

def stubborn(stop):
    time.sleep(600)

workers = [Worker("a", stubborn), Worker("b", stubborn), Worker("c", stubborn)] if sys.argv[4:] else []
app = create_app("test", checks={}, lifespan=run_workers(workers, deadline_seconds=1.0))
def tell(request: Request) -> str:
    return request.client.host

app.get("/who")(tell)
app.get("/slow")(lambda: StreamingResponse(count(), media_type="text/plain"))
serve(app, Settings(drain_seconds=float(sys.argv[2]), stop_seconds=float(sys.argv[3])), int(sys.argv[1]))
"""


class Server:
    def __init__(self, program: Path, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen([sys.executable, str(program), str(port), *arguments])
        self.url = f"http://127.0.0.1:{port}"

    def wait_until_healthy(self) -> "Server":
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                httpx.get(f"{self.url}/healthz")
                return self
            time.sleep(0.05)
        raise TimeoutError("the server did not start")


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server: seconds of drain, seconds for requests, anything more for workers that do not return."""
    (tmp_path / "program.py").write_text(PROGRAM)
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(Server(tmp_path / "program.py", *arguments))
        return started[-1].wait_until_healthy()

    yield start
    for server in started:
        server.process.kill()
        server.process.wait(10)


def test_a_server_told_to_end_is_not_ready_first_then_finishes_and_refuses_nobody_before(
    start_server: Callable[..., Server],
):
    server = start_server("1.5", "20")
    streamed: list[Any] = []
    reader = threading.Thread(target=lambda: streamed.append(httpx.get(f"{server.url}/slow", timeout=30).text))
    with httpx.Client(base_url=server.url) as kept:
        assert "connection" not in kept.get("/healthz").headers
        reader.start()
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert httpx.get(f"{server.url}/readyz").json() == {"ready": False, "checks": {"stopping": "Stopping"}}
        answer = kept.get("/healthz")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    reader.join(20)
    assert streamed == ["".join(f"{number}\n" for number in range(20))]
    assert server.process.wait(10) == -signal.SIGTERM
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")


def test_a_second_signal_and_a_keyboard_do_not_wait_for_the_drain(start_server: Callable[..., Server]):
    for signals in ([signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]):
        server = start_server("60", "20")
        began = time.monotonic()
        for number in signals:
            server.process.send_signal(number)
            time.sleep(0.2)
        server.process.wait(10)
        assert time.monotonic() - began < 5


def test_a_request_that_runs_on_is_cut_and_workers_that_do_not_return_are_left_together(
    start_server: Callable[..., Server],
):
    server = start_server("0", "1", "with workers")
    with httpx.stream("GET", f"{server.url}/slow") as answer:
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.HTTPError):
            answer.read()
    server.process.wait(10)
    assert time.monotonic() - began < 2.9  # a second for the request, one for all three workers, and the end


def test_a_server_that_cannot_start_says_so_by_its_exit_status(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server("0", "1")
    port = server.url.rpartition(":")[2]
    second = subprocess.run([sys.executable, str(tmp_path / "program.py"), port, "0", "1"], timeout=120)
    assert second.returncode == STARTUP_FAILURE


def test_a_connection_waits_for_its_next_request_for_longer_than_clients_keep_theirs(
    start_server: Callable[..., Server],
):
    server = start_server("0", "1")
    kept = HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]), timeout=10)
    kept.connect()
    kept.auto_open = 0
    with closing(kept):
        for pause_seconds in (6, 0):  # clients commonly keep theirs for five seconds
            kept.request("GET", "/healthz")
            answer = kept.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
            time.sleep(pause_seconds)


@pytest.mark.parametrize(
    ("proxies", "sender"), [("127.0.0.1,10.0.0.0/8", "203.0.113.9"), ("192.0.2.7", "127.0.0.1")], ids=["named", "other"]
)
def test_who_sends_is_what_a_proxy_says_that_the_settings_name(
    start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, proxies: str, sender: str
):
    """A client that claims to be a proxy's client gains nothing: what it claims stands before what the proxy added."""
    monkeypatch.setenv("HELIOTROPE_TRUSTED_PROXIES", proxies)
    server = start_server("0", "1")
    forwarded = {"x-forwarded-for": "198.51.100.1, 203.0.113.9, 10.1.2.3"}
    assert httpx.get(f"{server.url}/who", headers=forwarded, trust_env=False).json() == sender
