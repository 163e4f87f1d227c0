"""The server as a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.unit.trainer.tiny_model import save_tiny_model

DYING = """
from local.model_server.__main__ import end_when_dead
from local.model_server.worker import Worker
worker = Worker()
worker.join(object())
worker.start()
end_when_dead(worker)
"""


@pytest.fixture
def url() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "local.model_server", "127.0.0.1", str(port)])
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(30) in (0, -15)


def ask(url: str) -> int:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Where is my order?"}], "max_tokens": 20}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).status_code


def wait_until_healthy(url: str) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            assert httpx.get(f"{url}/health").status_code == 200
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_memory_stays_flat_over_requests_and_loadings(url: str, tmp_path: Path):
    model = save_tiny_model(tmp_path / "tiny")
    wait_until_healthy(url)
    (process,) = [each for each in psutil.Process().children() if "local.model_server" in each.cmdline()]
    sizes = []
    for _ in range(4):
        for _ in range(5):
            named = {"lora_name": "tiny", "lora_path": str(model)}
            assert httpx.post(f"{url}/v1/load_lora_adapter", json=named, timeout=60).status_code == 200
            assert {ask(url) for _ in range(10)} == {200}
            assert httpx.post(f"{url}/v1/unload_lora_adapter", json=named, timeout=60).status_code == 200
        sizes.append(process.memory_info().rss / 1e6)
    assert sizes[-1] - sizes[1] < 20, sizes


def test_a_process_whose_worker_died_ends_itself():
    done = subprocess.run([sys.executable, "-c", DYING], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "AttributeError" in done.stderr
