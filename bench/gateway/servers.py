"""The processes of the benchmark: each started as its users would start it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import msgspec

from bench.gateway.streams import MESSAGES, Target
from local.stack.stack import Stack
from shared.events import Route, RoutingTable

LITELLM_HOME = Path("build/bench/litellm")
LITELLM_KEY = "sk-bench-1234"
LITELLM = """
model_list:
  - model_name: heliotrope
    litellm_params: {{model: openai/mock, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0, set_verbose: false}}
router_settings: {{disable_cooldowns: true}}
general_settings: {{master_key: {key}, disable_spend_logs: true, disable_error_logs: true}}
"""
LITELLM_CANDIDATES: dict[str, Sequence[str]] = {
    "1 worker": ("--num_workers", "1"),
    # on a busy machine its workers start more slowly than they are given to show that they live
    "a worker per CPU": ("--num_workers", str(os.cpu_count()), "--timeout_worker_healthcheck", "120"),
}


@contextlib.contextmanager
def run_process(
    command: Sequence[str], log: Path, target: Target | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Yield the process id, once `target` answers a chat; the process and its children end with the context."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}, start_new_session=True
        )
        try:
            if target is not None:
                wait_for_answer(target, process)
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait(10)


def wait_for_answer(target: Target, process: "subprocess.Popen[bytes] | None" = None, seconds: float = 420) -> None:
    url = f"http://127.0.0.1:{target.port}/v1/chat/completions"
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError):
            body = {"model": "heliotrope", "messages": MESSAGES}
            response = httpx.post(url, json=body, headers={"authorization": f"Bearer {target.key}"}, trust_env=False)
            if response.status_code == 200:
                return
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise TimeoutError(f"nothing answers at {url}")
        time.sleep(0.2)


@contextlib.contextmanager
def run_mock(port: int, logs: Path) -> Iterator[None]:
    target = Target(port)
    with run_process([sys.executable, "-m", "bench.gateway.mock_model", str(port)], logs / "mock.log", target):
        yield


@contextlib.contextmanager
def run_gateway(home: Path, port_base: int, mock_port: int) -> Iterator[Target]:
    """Run our gateway with its Postgres and its broker; a routing table on disk names the mock."""
    route = Route(version="1", model="mock", base_url=f"http://127.0.0.1:{mock_port}/v1")
    table = RoutingTable(generation=1, family="heliotrope", champion=route, salt="bench")
    (home / "gateway").mkdir(parents=True)
    (home / "gateway" / "routing.json").write_bytes(msgspec.json.encode(table))
    os.environ["HELIOTROPE_GATEWAY_USER_REQUESTS_PER_SECOND"] = "0"  # the load comes from few users
    stack = Stack(home, port_base, only=("postgres", "broker", "gateway"), throwaway=True)
    stack.up()
    try:
        target = Target(port_base + 2, stack.credentials["frontend"])
        wait_for_answer(target)
        yield target
    finally:
        stack.down()


def install_litellm() -> Path:
    """Install the proxy in an environment of its own; return its command."""
    command = LITELLM_HOME / "bin" / "litellm"
    if not command.exists():
        print("installing litellm[proxy] into", LITELLM_HOME)
        subprocess.run([sys.executable, "-m", "venv", str(LITELLM_HOME)], check=True)
        subprocess.run([LITELLM_HOME / "bin" / "pip", "install", "-q", "litellm[proxy]"], check=True)
    return command


@contextlib.contextmanager
def run_litellm(arguments: Sequence[str], port: int, mock_port: int, logs: Path) -> Iterator[Target]:
    config = logs / f"litellm-{port}.yaml"
    config.write_text(LITELLM.format(port=mock_port, key=LITELLM_KEY))
    target = Target(port, LITELLM_KEY)
    quiet = {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
    }
    command = [str(install_litellm()), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), *arguments]
    with run_process(command, logs / f"litellm-{port}.log", target, quiet):
        yield target
