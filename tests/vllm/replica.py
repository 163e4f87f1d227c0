"""A `vllm serve` of its own process tree, on a CPU."""

import os
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

KEY = "a-key-of-the-test"
START_SECONDS = 600.0
ENVIRONMENT = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


class Replica:
    """A vLLM that can be killed and started again at the same place; it serves its base under `name`."""

    def __init__(self, base: Path, log: Path, name: str = "base") -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.url, self._base, self._log, self._name = f"http://127.0.0.1:{self.port}/v1", base, log, name
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start, and return the seconds until it answers."""
        command = [*shlex.split(os.environ["HELIOTROPE_TEST_VLLM"]), "serve", str(self._base)]
        command += ["--served-model-name", self._name, "--port", str(self.port), "--host", "127.0.0.1"]
        command += ["--api-key", KEY, "--max-model-len", "512", "--max-num-seqs", "8", "--dtype", "float32"]
        command += ["--enable-lora", "--max-lora-rank", "16", "--max-loras", "2"]
        began = time.monotonic()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | ENVIRONMENT, start_new_session=True
            )
        while time.monotonic() - began < START_SECONDS:
            assert self.process.poll() is None, self._log.read_text()[-2_000:]
            try:
                httpx.get(self.url.removesuffix("/v1") + "/health", timeout=2).raise_for_status()
                return time.monotonic() - began
            except httpx.HTTPError:
                time.sleep(1)
        raise AssertionError("vLLM did not start")

    def kill(self) -> None:
        """End the whole tree: without its parent the engine would stay."""
        if self.process is None:
            return
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.send_signal(signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process = None

    def ask(self, model: str) -> Any:
        """Return what a model answers, or the status where it does not."""
        body = {"model": model, "messages": [{"role": "user", "content": "Where is my parcel?"}]}
        answer = httpx.post(
            f"{self.url}/chat/completions",
            json=body | {"max_tokens": 12, "temperature": 0},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=180,
        )
        return answer.json()["choices"][0]["message"]["content"] if answer.is_success else answer.status_code

    def list_models(self) -> set[str]:
        """Return the names of what is loaded."""
        answer = httpx.get(f"{self.url}/models", headers={"authorization": f"Bearer {KEY}"}, timeout=30)
        return {str(model["id"]) for model in answer.raise_for_status().json()["data"]}
