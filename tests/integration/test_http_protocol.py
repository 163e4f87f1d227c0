"""Connections that would be held for ever are closed."""

import asyncio
import resource
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from shared.http_protocol import OWN_FILES, DeadlineHttpProtocol, keep_own_files

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Impatient(DeadlineHttpProtocol):
    head_seconds = 0.3
    body_seconds = 0.3
    write_seconds = 0.3
    max_connections = 20


class Endless:
    """An app whose answer never ends; `left` is set when its client is gone."""

    def __init__(self) -> None:
        self.left = threading.Event()
        self.app = FastAPI()
        self.app.add_api_route("/", self.greet)
        self.app.add_api_route("/endless", self.write)
        self.app.add_api_route("/length", self.measure, methods=["POST"])

    async def greet(self) -> str:
        return "hello"

    async def measure(self, request: Request) -> int:
        return len(await request.body())

    async def write(self) -> StreamingResponse:
        return StreamingResponse(self.chunks())

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(64 * 1024)
                await asyncio.sleep(0)
        finally:
            self.left.set()


@pytest.fixture
def endless() -> Iterator[tuple[Endless, tuple[str, int]]]:
    endless = Endless()
    config = uvicorn.Config(endless.app, port=0, http=Impatient, log_config=None, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield endless, server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join(20)


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n", b"\r\n\r\n"])
def test_a_head_that_does_not_come_closes_the_connection(endless: tuple[Endless, tuple[str, int]], sent: bytes):
    with socket.create_connection(endless[1]) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_a_head_that_drips_is_not_waited_for_and_neither_is_a_second_one(endless: tuple[Endless, tuple[str, int]]):
    with socket.create_connection(endless[1]) as connection:
        connection.sendall(GET)
        time.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(OSError):
            for letter in GET * 10:
                connection.sendall(bytes([letter]))
                time.sleep(0.05)
        assert time.monotonic() - began < 3


def test_an_endless_head_is_refused(endless: tuple[Endless, tuple[str, int]]):
    with socket.create_connection(endless[1]) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(70):
            try:
                connection.sendall(b"x: " + b"y" * 1_000 + b"\r\n")
            except OSError:
                return
        assert read_all(connection).startswith(b"HTTP/1.1 400")


def test_requests_on_one_connection_are_answered_as_always(endless: tuple[Endless, tuple[str, int]]):
    with socket.create_connection(endless[1]) as connection:
        connection.settimeout(5)
        for _ in range(3):
            connection.sendall(GET)
            received = b""
            while b'"hello"' not in received:
                received += connection.recv(1_000)
            time.sleep(0.2)


def test_a_head_without_a_body_is_408_and_one_that_comes_later_is_read(endless: tuple[Endless, tuple[str, int]]):
    head = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
    with socket.create_connection(endless[1]) as connection:
        connection.sendall(head)
        assert read_all(connection).startswith(b"HTTP/1.1 408")
    with socket.create_connection(endless[1]) as connection:
        connection.sendall(head)
        time.sleep(0.1)
        connection.sendall(b"body")
        connection.settimeout(5)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("pieces", [[b"1"], [b"5;", *[b"x"] * 100]], ids=["begun", "dripping"])
def test_a_chunk_that_never_begins_is_no_body(endless: tuple[Endless, tuple[str, int]], pieces: list[bytes]):
    with socket.create_connection(endless[1]) as connection:
        connection.sendall(b"POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        began = time.monotonic()
        with suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.05)
        with suppress(ConnectionResetError):
            assert read_all(connection).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 4


def test_a_client_that_stops_reading_is_cut(endless: tuple[Endless, tuple[str, int]]):
    app, address = endless
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        assert app.left.wait(10)


def test_clients_cannot_take_every_file_of_a_process(endless: tuple[Endless, tuple[str, int]]):
    with ExitStack() as held:
        connections = [held.enter_context(socket.create_connection(endless[1])) for _ in range(30)]
        answers = [read_all(connection) for connection in connections]
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
    assert 5 <= len(refused) <= 10, "a slow machine has closed some of the first meanwhile"
    assert all(b"retry-after: 2" in answer for answer in refused)
    with socket.create_connection(endless[1]) as connection:
        connection.sendall(GET)
        connection.settimeout(5)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")


def test_a_process_keeps_files_for_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DeadlineHttpProtocol, "max_connections", sys.maxsize)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    keep_own_files()
    assert (asked, DeadlineHttpProtocol.max_connections) == ([(4_096, 4_096)], 4_096 - OWN_FILES)
