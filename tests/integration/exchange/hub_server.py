"""A small HTTP server that plays what a client calls of the Hugging Face Hub: repositories, commits, large files."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"


@dataclass
class Hub:
    """Its repositories, the files of each and what was uploaded by its SHA-256; `is_closed` to newcomers."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    visibilities: dict[str, Any] = field(default_factory=dict)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    is_closed: bool = False
    url: str = ""

    def create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked['organization']}/{asked['name']}"
        if self.is_closed:
            return 403, {"error": "You don't have the rights to create a dataset here"}
        if name in self.repositories:
            return 409, {"error": "You already created this dataset repo", "url": f"{self.url}/datasets/{name}"}
        self.repositories[name], self.visibilities[name] = {}, asked.get("visibility")
        return 200, {"url": f"{self.url}/datasets/{name}"}

    def list_modes(self, asked: dict[str, Any]) -> tuple[int, Any]:
        """Tables are large files, as the Hub's own attributes say; the rest is in the commit itself."""
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(".parquet") else "regular",
                "shouldIgnore": False,
            }
            for one in asked["files"]
        ]
        return 200, {"files": files}

    def list_actions(self, asked: dict[str, Any]) -> tuple[int, Any]:
        objects = [
            {
                **one,
                "actions": {
                    "upload": {"href": f"{self.url}/lfs/{one['oid']}"},
                    "verify": {"href": f"{self.url}/verify/{one['oid']}"},
                },
            }
            for one in asked["objects"]
        ]
        return 200, {"transfer": "basic", "objects": objects}

    def verify(self, asked: dict[str, Any]) -> tuple[int, Any]:
        content = self.uploaded.get(asked["oid"])
        whole = content is not None and len(content) == asked["size"]
        return (200, {}) if whole and hashlib.sha256(content or b"").hexdigest() == asked["oid"] else (422, {})

    def commit(self, name: str, body: bytes) -> tuple[int, Any]:
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.repositories[name][value["path"]] = self.uploaded[value["oid"]]
        self.commits.append(next(line["value"] for line in lines if line["key"] == "header"))
        oid = hashlib.sha1(body).hexdigest()
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/datasets/{name}/commit/{oid}"}


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_POST(self) -> None:
        body, path = self._read(), unquote(urlsplit(self.path).path)
        self.hub.called.append(path)
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._reply(401, {"error": "Invalid credentials"})
            return
        self._reply(*self._answer(path, body))

    def _answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if "/commit/" in path:
            return self.hub.commit("/".join(path.split("/")[3:5]), body)
        asked = json.loads(body)
        if path == "/api/repos/create":
            return self.hub.create(asked)
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if "/preupload/" in path:
            return self.hub.list_modes(asked)
        if path.endswith("/info/lfs/objects/batch"):
            return self.hub.list_actions(asked)
        return self.hub.verify(asked) if path.startswith("/verify/") else (404, {"error": "not found"})

    def do_PUT(self) -> None:
        content = self._read()
        self.hub.called.append("PUT")
        self.hub.uploaded[self.path.rpartition("/")[2]] = content
        self._reply(200, {})

    def do_GET(self) -> None:
        self._reply(404, {"error": "Repository not found"})

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _reply(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serve an empty Hub on a port of its own; its `url` says where."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
