"""A small stand-in for vLLM, written to the documented protocol of its adapters; `make test-vllm` uses the real one.

It knows its base by a name, loads adapters by name and path, refuses a name twice, and forgets all when it restarts.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class FakeVllm:
    """One replica."""

    def __init__(self, base: str = "base", key: str = "", port: int = 0) -> None:
        self.base, self.key = base, key
        self.adapters: dict[str, str] = {}
        self.wanted: list[str] | None = None
        """What it was told is wanted of it, as an agent is."""
        self.asked: list[str] = []
        self.is_broken = False
        """Whether it answers requests for text with 500."""
        replica = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                names = [replica.base, *replica.adapters]
                self._answer(200, {"object": "list", "data": [{"id": name} for name in names]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if replica.key and self.headers.get("authorization") != f"Bearer {replica.key}":
                    return self._answer(401, {"error": "Unauthorized"})
                return self._answer(*replica.handle(self.path, body))

            def _answer(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *message: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def handle(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        match path:
            case "/v1/wanted_adapters":
                self.wanted = body["lora_names"]
                return 200, "Success"
            case "/v1/load_lora_adapter":
                return self._load(body["lora_name"], body["lora_path"])
            case "/v1/unload_lora_adapter":
                if self.adapters.pop(body["lora_name"], None) is None:
                    return 404, {"error": {"message": "not found"}}
                return 200, "Success"
        if self.is_broken:
            return 500, {"error": {"message": "engine dead"}}
        if body["model"] not in (self.base, *self.adapters):
            return 404, {"error": {"message": "The model does not exist"}}
        self.asked.append(body["model"])
        return 200, {"choices": [{"message": {"role": "assistant", "content": "a"}, "finish_reason": "length"}]}

    def _load(self, name: str, path: str) -> tuple[int, Any]:
        if name in self.adapters:
            return 400, {"error": {"message": "has already been loaded"}}
        if not (Path(path) / "adapter_config.json").is_file():
            return 404, {"error": {"message": f"no adapter at {path}"}}
        self.adapters[name] = path
        return 200, "Success"

    def restart(self) -> None:
        """Forget every adapter, as a new process has none."""
        self.adapters.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
