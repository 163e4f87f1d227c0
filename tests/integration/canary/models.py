"""A model server on a socket whose models behave as each is told to."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """How a model answers. `fails_on`: a word in the prompt that it cannot stand; `empty_every`: n-th answer."""

    seconds: float = 0.0
    fails_on: str = ""
    empty_every: int = 0


@dataclass
class ModelServer:
    """Serves every model that it is asked for."""

    port: int = 0
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    answered: int = 0

    def __post_init__(self) -> None:
        self.start()
        self.port = self.server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        models = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say(200, {"object": "list", "data": [{"id": name} for name in models.behaviours]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self._say(*models.answer(body))

            def _say(self, status: int, content: Any) -> None:
                raw = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 128

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Be away until started again."""
        self.server.shutdown()
        self.server.server_close()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and content for a request."""
        behaviour = self.behaviours.get(body["model"], Behaviour())
        time.sleep(behaviour.seconds)
        if behaviour.fails_on and behaviour.fails_on in body["messages"][-1]["content"]:
            return 500, {"error": {"message": "engine dead"}}
        self.answered += 1
        is_empty = behaviour.empty_every and self.answered % behaviour.empty_every == 0
        message = {"role": "assistant", "content": "" if is_empty else "Open Orders."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
        reply = {"id": "r", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        return 200, reply | {"usage": usage}
