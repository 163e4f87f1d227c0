"""HTTP/1.1 for uvicorn with deadlines that it does not have: for a request's head, and for a client that reads."""

import asyncio
import resource
import sys
from contextlib import suppress
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
OWN_FILES = 256
"""That a process needs beside its clients' connections: to Postgres, brokers and model servers, for spools and logs."""


class DeadlineHttpProtocol(HttpToolsProtocol):
    """Closes connections that would be held for ever.

    - a request's head is complete within `head_seconds` of its first byte (of the connection's begin, for the first),
      and within `max_head_bytes`
    - the first piece of its body comes within `body_seconds`, or the answer is 408; further pieces have the deadline of
      whoever reads them
    - a client takes what is written to it: the connection is cut when its buffer stays full for `write_seconds`
    - clients take no more than `max_connections` of the files that a process may have open; the next one is 503

    Idle connections have `HELIOTROPE_IDLE_SECONDS`.
    """

    head_seconds: ClassVar[float] = 20.0
    body_seconds: ClassVar[float] = 20.0
    write_seconds: ClassVar[float] = 30.0
    max_head_bytes: ClassVar[int] = 64 * 1024
    max_connections: ClassVar[int] = sys.maxsize

    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, transport.close)
        if len(self.connections) > self.max_connections:
            transport.write(_BUSY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._body_timer is not None and (self.cycle.body or not self.cycle.more_body):
            self._stop_waiting_for_body()  # the beginning of a chunk's length is no piece of a body
        if self.cycle is not None and not self.cycle.response_complete:
            if self._head_timer is not None:
                self._stop_waiting_for_head()
                if self.cycle.more_body and not self.cycle.body:
                    self._body_timer = self.loop.call_later(self.body_seconds, self._give_up_on_body)
        elif not self.transport.is_closing():
            self._wait_for_head(len(data))

    def _wait_for_head(self, received: int) -> None:
        self._head_bytes += received
        if self._head_bytes > self.max_head_bytes:
            self.send_400_response("Request head too large.")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer, self._head_bytes = None, 0

    def _give_up_on_body(self) -> None:
        if not (self.cycle.response_started or self.transport.is_closing()):
            self.transport.write(_REQUEST_TIMEOUT)
            self.transport.close()

    def _stop_waiting_for_body(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()

    def _stop_waiting_for_reader(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose client has not read its last answer is cut after a while."""
        super().timeout_keep_alive_handler()
        if self._write_timer is None and self.transport.get_write_buffer_size():
            self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting_for_head()
        self._stop_waiting_for_body()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)


def keep_own_files() -> None:
    """Let this process open as many files as it may, and its clients take all of them but `OWN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a system that bounds it otherwise
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY:
        DeadlineHttpProtocol.max_connections = max(soft - OWN_FILES, soft // 2)
