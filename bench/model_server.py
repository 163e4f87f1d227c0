"""How model servers do: `python -m bench.model_server NAME --url URL --model MODEL [--load PATH] -- COMMAND`.

Starts the command, and measures: time to the first answer, tokens a second with 1, 8 and 12 clients (48 tokens each,
sampled as the demo does), memory, and what comes of `temperature: 0`, a prompt far too long, and a client that leaves.
Writes `results/model-server-NAME.json`.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from local.results import Row, write_result

QUESTIONS = (
    "Where is my order {n}?",
    "How do I send back a parcel that is {n} days old?",
    "My voucher number {n} is refused, what now?",
    "Can you change the address of order {n}, please?",
)
TOKENS = 48
ROUNDS = 3
START_SECONDS = 300.0
SAME = {"temperature": 0}


class Asker:
    """A client of one server."""

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model, self._asked = url, model, 0
        self.client = httpx.AsyncClient(timeout=180)

    async def ask(self, text: str | None = None, **settings: Any) -> httpx.Response:
        """Ask a question, another one each time unless it is given."""
        self._asked += 1
        asked = text or QUESTIONS[self._asked % len(QUESTIONS)].format(n=1_000 + self._asked)
        body = {"model": self.model, "messages": [{"role": "user", "content": asked}], "max_tokens": TOKENS}
        return await self.client.post(f"{self.url}/v1/chat/completions", json=body | settings)

    async def wait(self, load: str | None) -> None:
        """Wait until it answers, having it load an adapter or a model first where it must be told."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if load:
                    await self.client.post(
                        f"{self.url}/v1/load_lora_adapter", json={"lora_name": self.model, "lora_path": load}
                    )
                if (await self.ask("Hello", max_tokens=1)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.25)
        raise SystemExit(f"{self.url} does not answer within {START_SECONDS:.0f} s")

    async def measure_speed(self, clients: int) -> float:
        """Return tokens a second with so many clients, each asking twice."""

        async def work() -> int:
            return sum([_count(await self.ask()) for _ in range(2)])

        started = time.monotonic()
        tokens = sum(await asyncio.gather(*(work() for _ in range(clients))))
        return tokens / (time.monotonic() - started)


def _count(response: httpx.Response) -> int:
    return int(response.raise_for_status().json()["usage"]["completion_tokens"])


def measure_memory_mb(pid: int) -> float:
    """Return the proportional set size of a process and its children."""
    process = psutil.Process(pid)
    return sum(each.memory_full_info().pss for each in (process, *process.children(recursive=True))) / 1e6


def measure_cpu(pid: int) -> float:
    """Return the seconds of CPU that a process and its children have taken."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


async def find_faults(asker: Asker) -> dict[str, object]:
    """Say what comes of what clients do wrong, and whether answers come after each."""
    texts = {
        (await asker.ask("What is a refund?", **SAME)).json()["choices"][0]["message"]["content"] for _ in range(5)
    }
    return {
        "temperature 0: different answers of 5": len(texts),
        "prompt of 30,000 words": await _survive(asker, lambda: _status(asker.ask("word " * 30_000))),
        "client that leaves": await _survive(asker, lambda: _leave(asker)),
    }


async def _survive(asker: Asker, harm: Callable[[], Awaitable[object]]) -> str:
    what = await harm()
    after = await _status(asker.ask("Hello", max_tokens=1))
    return f"{what}; the next request: {after}"


async def _status(asking: Awaitable[httpx.Response]) -> str:
    try:
        response = await asyncio.wait_for(asking, 60)
    except (httpx.HTTPError, TimeoutError) as error:
        return type(error).__name__
    said = (
        response.json().get("error")
        if response.headers.get("content-type", "").startswith("application/json")
        else None
    )
    return f"{response.status_code} {said.get('code') if isinstance(said, dict) else ''}".strip()


async def _leave(asker: Asker) -> str:
    try:
        await asyncio.wait_for(asker.ask("Tell me a long story.", max_tokens=1_500), 1)
    except TimeoutError:
        return "left after 1 s"
    return "answered within 1 s"


async def measure(asker: Asker, pid: int, load: str | None, started: float) -> tuple[list[Row], dict[str, object]]:
    """Measure a server that was just started; returns figures and faults."""
    await asker.wait(load)
    rows = [Row.of("start to first answer", "s", [time.monotonic() - started])]
    await asker.measure_speed(2)
    rows.append(Row.of("memory after the first answers", "MB", [measure_memory_mb(pid)]))
    for clients in (1, 8, 12):
        speeds, costs = [], []
        for _ in range(ROUNDS):
            before, began = measure_cpu(pid), time.monotonic()
            speeds.append(await asker.measure_speed(clients))
            costs.append(speeds[-1] * (time.monotonic() - began) / (measure_cpu(pid) - before))
        rows.append(Row.of(f"{clients} clients", "tokens/s", speeds))
        rows.append(Row.of(f"{clients} clients, which a busy machine changes less", "tokens/s of CPU", costs))
    rows.append(Row.of("memory after all", "MB", [measure_memory_mb(pid)]))
    return rows, await find_faults(asker)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--load", help="folder that it is told to load under the model's name")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    started = time.monotonic()
    server = subprocess.Popen(arguments.command, start_new_session=True, stdout=subprocess.DEVNULL)
    asker = Asker(arguments.url, arguments.model)
    try:
        rows, faults = asyncio.run(measure(asker, server.pid, arguments.load, started))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    shown = " ".join(arguments.command[1:]).replace(str(Path.cwd()), ".")
    settings = {"command": shown, "tokens": TOKENS, "faults": faults}
    write_result(f"model-server-{arguments.name}", rows, [], settings)
    for fault, what in faults.items():
        print(f"{fault}: {what}")


if __name__ == "__main__":
    main()
