"""Processes that can be killed, and users who remember what they were answered."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from shared.bus import decode
from shared.bus.kafka import KafkaBusConsumer
from shared.events import InteractionRecorded

CHECKOUT = Path(__file__).parents[3]
QUESTION = "The lamp I bought flickers. What now?"


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Victim:
    """A process that is started, killed, and started again."""

    command: list[str]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        environment = {**os.environ, **self.environment}
        self.process = subprocess.Popen(self.command, env=environment, cwd=CHECKOUT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.listens():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)

    def listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(40)
            self.process = None


@dataclass
class Crowd:
    """Users who stream chats one after the other until they are told to leave, and note how each answer ended."""

    url: str
    key: str
    begun: set[UUID] = field(default_factory=set)
    ended: set[UUID] = field(default_factory=set)
    """Their last byte has come, and no error with it."""
    broken: set[UUID] = field(default_factory=set)
    """Ended with an error event."""
    refused: int = 0
    """Never began."""
    leaving: bool = False

    @property
    def in_flight(self) -> int:
        return len(self.begun - self.ended - self.broken)

    def has_ended(self, count: int) -> bool:
        return len(self.ended) >= count

    def leave(self) -> None:
        """After the answer that each waits for."""
        self.leaving = True

    async def chat(self, users: int) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            await asyncio.gather(*(self._chat_on(client, f"paced-{number}") for number in range(users)))

    async def _chat_on(self, client: httpx.AsyncClient, user: str) -> None:
        url = f"{self.url}/v1/chat/completions"
        messages = [{"role": "user", "content": f"I am {user}. {QUESTION}"}]
        body = {"model": "heliotrope", "messages": messages, "user": user, "stream": True}
        headers = {"authorization": f"Bearer {self.key}"}
        while not self.leaving:
            with contextlib.suppress(httpx.HTTPError):
                async with client.stream("POST", url, json=body, headers=headers) as reply:
                    if reply.status_code == 200:
                        await self._read(reply)
                    else:
                        self.refused += 1
            await asyncio.sleep(0.02)

    async def _read(self, reply: httpx.Response) -> None:
        interaction_id = UUID(reply.headers["x-heliotrope-interaction-id"])
        self.begun.add(interaction_id)
        async for line in reply.aiter_lines():
            if line.startswith('data: {"error"'):
                self.broken.add(interaction_id)
            elif line == "data: [DONE]" and interaction_id not in self.broken:
                self.ended.add(interaction_id)


async def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class Edge:
    gateway: Victim
    model: Victim
    home: Path
    key: str
    kafka_bootstrap: str
    topic_prefix: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def make_crowd(self) -> Crowd:
        return Crowd(self.url, self.key)

    def read_metric(self, name: str) -> float:
        lines = httpx.get(f"{self.url}/metrics", trust_env=False).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def wait_until_relayed(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while self.read_metric("heliotrope_spool_rows"):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def read_topic(self) -> list[InteractionRecorded]:
        """Every interaction on the topic, repeats included."""
        topic = self.topic_prefix + InteractionRecorded.topic
        consumer = KafkaBusConsumer(self.kafka_bootstrap, [topic], None, client_id="faults")
        events: list[Any] = []
        deadline = time.monotonic() + 60
        idle = 0
        while idle < 4 and time.monotonic() < deadline:
            records = consumer.poll(0.5)
            events += [decode(record) for record in records]
            idle = 0 if records or not events else idle + 1
        consumer.close()
        return events
