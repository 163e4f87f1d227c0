"""What reaches a running server: feedback, chat requests, and what model servers answer."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import strategies as st

from tests.builders import make_id
from tests.hostile.fuzzing import damaged_bytes, fuzz
from tests.integration.edge.conftest import Edge, edge
from tests.integration.gateway.dialects import choose
from tests.integration.gateway.scripted import make_reply, open_gateway, play

__all__ = ["edge"]

pytestmark = pytest.mark.hostile

ANSWER_SECONDS = 10.0
REFUSALS = {400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 422, 429}
MOST_ANSWERED = 64 * 2**10
"""Bytes of an answer to one event or request, whatever it was."""
MEMORY_GROWTH_BYTES = 150 * 2**20
"""What a server may grow by while it is fuzzed: caches fill, and its allocator keeps what the largest bodies took."""


THUMB = {"type": "thumb", "value": "up", "interaction_id": str(make_id(7)), "user_id": "ada"}
EDIT = THUMB | {"type": "edit", "text": "Send us your order number.", "occurred_at": "2026-11-27T09:00:00Z"}
CHOICE = THUMB | {"type": "choice", "other_interaction_id": str(make_id(8)), "tie": True, "metadata": {"page": "cart"}}
TOOL = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 7}'}}
MESSAGES = [
    {"role": "system", "content": "You are a shop's assistant."},
    {"role": "user", "content": [{"type": "text", "text": "Where is my order?"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "on its way"},
    {"role": "user", "content": "When will it be here?"},
]
INTERACTION = {
    "interaction_id": str(make_id(7)),
    "messages": MESSAGES,
    "answer": "Tomorrow.",
    "model_version": "1",
    "served_at": "2026-11-27T09:00:00Z",
    "conversation_id": "c",
}
RICH = INTERACTION | {
    "user_id": "ada",
    "solicited": True,
    "metadata": {"conversation_id": "c-7", "page": 1},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": f"What is this? data:image/png;base64,{'A' * 80}"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 80}"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "order.pdf"}},
            ],
        },
    ],
}
CHAT = {"model": "heliotrope", "messages": MESSAGES, "tools": [TOOL], "user": "ada", "max_tokens": 20, "n": 1}


def make_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"id": "1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHUNKS = [
    make_chunk({"role": "assistant"}),
    make_chunk({"content": "Tomo"}),
    make_chunk({"tool_calls": [{"index": 0, **CALL}]}),
    make_chunk({"content": "rrow"}, "stop"),
]


class Memory:
    """The resident memory of a stack's process, before and after."""

    def __init__(self, name: str, root: Path) -> None:
        self.process = next(
            process
            for process in psutil.process_iter(["cmdline", "environ"])
            if f"services.{name}" in (process.info["cmdline"] or [])
            and (process.info["environ"] or {}).get("HELIOTROPE_HOME") == str(root)
        )
        self.before = self.process.memory_info().rss

    def check(self) -> None:
        assert self.process.memory_info().rss - self.before < MEMORY_GROWTH_BYTES


def make_check(
    client: httpx.Client, url: str, accepted: set[int], most_answered: int = MOST_ANSWERED
) -> Callable[..., None]:
    def check(content: bytes, **headers: str) -> None:
        started = time.monotonic()
        sent = {"content-type": "application/json"} | {name.replace("_", "-"): one for name, one in headers.items()}
        reply = client.post(url, content=content, headers=sent)
        assert time.monotonic() - started < ANSWER_SECONDS
        assert len(reply.content) < most_answered, reply.text[:500]
        if reply.status_code == 503:
            assert float(reply.headers["retry-after"]) >= 0
        else:
            assert reply.status_code in accepted | REFUSALS, reply.text[:500]

    return check


@pytest.fixture
def client(edge: Edge) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=3 * ANSWER_SECONDS, headers={"authorization": f"Bearer {edge.key}"}) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "valid"),
    [
        ("/v1/feedback", [THUMB, EDIT, CHOICE]),
        ("/v1/feedback/batch", [{"events": [THUMB, EDIT, CHOICE]}]),
        ("/v1/interactions", [INTERACTION, RICH]),
        ("/v1/interactions/batch", [{"events": [INTERACTION, RICH]}]),
    ],
)
def test_ingest_takes_or_refuses(edge: Edge, client: httpx.Client, path: str, valid: list[Any]):
    memory, most_answered = Memory("ingest", edge.stack.layout.home), MOST_ANSWERED * (50 if "batch" in path else 1)
    assert fuzz(damaged_bytes(*valid), make_check(client, f"{edge.ingest}{path}", {200, 202}, most_answered))
    memory.check()
    assert client.post(f"{edge.ingest}/v1/feedback", json=THUMB).status_code == 202


def test_the_gateway_answers_or_refuses(edge: Edge, client: httpx.Client):
    """The model server behind it is well, so that no request is worth a 502."""
    memory = Memory("gateway", edge.stack.layout.home)
    url = f"{edge.gateway}/v1/chat/completions"
    assert fuzz(damaged_bytes(CHAT, CHAT | {"stream": True}), make_check(client, url, {200}))
    memory.check()
    assert client.post(url, json=CHAT | {"user": "grace"}).status_code == 200


def test_whatever_a_model_server_answers_the_gateway_ends_its_reply_and_records_it(tmp_path: Path):
    streams = st.lists(damaged_bytes(*CHUNKS), max_size=6).map(
        lambda chunks: make_reply(b"".join(b"data: %b\n\n" % chunk for chunk in [*chunks, b"[DONE]"]))
    )
    whole = damaged_bytes(choose({"content": "Tomorrow."}) | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}})
    replies = st.tuples(st.just(True), streams) | st.tuples(
        st.just(False), whole.map(lambda body: make_reply(body, "application/json"))
    )
    settings: dict[str, Any] = {"breaker_failures": 10**9, "user_requests_per_second": 0, "idle_timeout_seconds": 5}
    with open_gateway(tmp_path, **settings) as gateway, play([]) as server:
        gateway.route_to(server.url)

        def check(reply: tuple[bool, list[bytes]]) -> None:
            streams, script = reply
            server.scripts = [[*script]]
            started, spooled = time.monotonic(), gateway.spool.count()
            answer = gateway.post(stream=streams)
            assert time.monotonic() - started < ANSWER_SECONDS
            assert answer.status_code in {200, 400, 502}, answer.text[:500]
            if answer.status_code == 200 and not streams:
                json.loads(answer.text)
            deadline = time.monotonic() + 5
            while gateway.spool.count() <= spooled and time.monotonic() < deadline:
                time.sleep(0.005)
            assert gateway.spool.count() > spooled
            gateway.spool.remove(gateway.spool.read(1_000)).result(10)

        assert fuzz(replies, check)
