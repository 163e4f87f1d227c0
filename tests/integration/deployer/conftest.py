"""A deployer, and a real model server on a socket."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from tests.fake_vllm import FakeVllm
from tests.integration.deployer.scene import Setup


@pytest.fixture(scope="module")
def model_server() -> Iterator[tuple[str, list[str]]]:
    """A server that speaks enough of the OpenAI protocol to load a model, and remembers which it was asked for."""
    app, asked = FastAPI(), []

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body["model"])
        assert "temperature" not in body
        return {"choices": [{"message": {"content": "Hi"}}]}

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/v1", asked
    server.should_exit = True
    thread.join()


@pytest.fixture
def setup(database_url: str, tmp_path: Path, model_server: tuple[str, list[str]]) -> Iterator[Setup]:
    setup = Setup(database_url, tmp_path, model_server[0])
    yield setup
    setup.close()


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    """A replica whose key is `secret`."""
    replica = FakeVllm(key="secret")
    yield replica
    replica.close()
