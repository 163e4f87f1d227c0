"""What stands in for a platform's machines: containers that are processes here, behind a server that speaks its API."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.launchers.rigs import ROOT, program


@dataclass
class Container:
    processes: list[subprocess.Popen[bytes]]
    log: Path
    was_taken: bool = False
    was_stopped: bool = False

    def list_statuses(self) -> list[int | None]:
        return [process.poll() for process in self.processes]

    @property
    def state(self) -> str:
        """`running`, `succeeded`, `failed`, `taken` (by the platform) or `stopped` (by us)."""
        statuses = self.list_statuses()
        if self.was_taken:
            return "taken"
        if self.was_stopped:
            return "stopped"
        if any(statuses):
            self.end()
            return "failed"
        return "running" if None in statuses else "succeeded"

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()


@dataclass
class Platform:
    """A platform's machines, and what a test has told it to be like."""

    folder: Path
    containers: dict[str, Container] = field(default_factory=dict)
    is_full: bool = False

    def launch(self, name: str, arguments: Sequence[str], places: Sequence[Mapping[str, str]], **extra: str) -> None:
        """One process for each place, which is what the platform puts into that machine's environment."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            processes = [
                subprocess.Popen(
                    [*program(), *arguments], env=os.environ | extra | dict(place), cwd=ROOT, stdout=file, stderr=file
                )
                for place in places
            ]
        self.containers[name] = Container(processes, log)

    def take(self, name: str) -> None:
        container = self.containers[name]
        container.was_taken = True
        container.end()

    def stop(self, name: str) -> None:
        container = self.containers[name]
        if container.state == "running":
            container.was_stopped = True
            container.end()

    def close(self) -> None:
        for container in self.containers.values():
            container.end()


class Handler(BaseHTTPRequestHandler):
    """Answers through `respond`, which a platform's API defines."""

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        raise NotImplementedError

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        status, content = self.respond(self.command, self.path, self.rfile.read(length))
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(handler: type[Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
