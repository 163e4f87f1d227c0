"""The server over HTTP, asked by OpenAI's own client."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
import uvicorn

from local.model_server.app import create_app
from local.model_server.models import Models
from local.model_server.worker import Worker
from tests.unit.local.model_server.serving import CONTEXT, save_adapter
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

QUESTION: Any = [{"role": "user", "content": "Where is my order?"}]
LONG = 6_000


class Running:
    """A server in a thread."""

    def __init__(self, slots: int, context: int) -> None:
        self.worker = Worker()
        self.models = Models(self.worker, dtype=torch.float32, slots=slots, context=context)
        self.worker.start()
        config = uvicorn.Config(create_app(self.worker, self.models), port=0, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=30)

    def post(self, path: str, body: object, timeout: float = 30) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", content=json.dumps(body), timeout=timeout)

    def load(self, name: str, path: Path) -> httpx.Response:
        return self.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})

    def ask(self, **settings: Any) -> Any:
        asked: dict[str, Any] = {"model": "base", "messages": QUESTION, "max_tokens": 20, "temperature": 0}
        return self.client.chat.completions.create(**asked | settings)

    def is_idle(self) -> bool:
        return not any(served.base.batch.is_busy for served in self.models.list())

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "base")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": LONG}))
    return folder


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Running]:
    running = Running(8, CONTEXT)
    assert running.load("base", base).status_code == 200
    yield running
    running.stop()


def test_temperature_0_is_the_same_each_time_though_the_checkpoint_samples(server: Running):
    assert server.models.find("base").defaults.do_sample
    assert len({server.ask().choices[0].message.content for _ in range(5)}) == 1
    drawn = {server.ask(temperature=None, max_tokens=20).choices[0].message.content for _ in range(5)}
    assert len(drawn) > 1, "what the checkpoint says holds where the request says nothing"
    assert len({server.ask(temperature=1, seed=7).choices[0].message.content for _ in range(3)}) == 1


def test_a_stream_says_what_the_whole_answer_says(server: Running):
    whole = server.ask(logprobs=True, top_logprobs=2)
    chunks = list(server.ask(stream=True, stream_options={"include_usage": True}, logprobs=True, top_logprobs=2))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens == 20
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 20
    told = [
        each
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for each in chunk.choices[0].logprobs.content
    ]
    assert [each.logprob for each in told] == pytest.approx(
        [each.logprob for each in whole.choices[0].logprobs.content], abs=1e-5
    )
    assert len(told) == 20
    assert all(each.top_logprobs[0].logprob == each.logprob for each in told)


def test_a_stop_string_ends_the_answer_before_it(server: Running):
    text = server.ask().choices[0].message.content
    stop = text[5:8]
    choice = server.ask(stop=[stop, "never said"]).choices[0]
    assert choice.message.content == text[: text.index(stop)]
    assert choice.finish_reason == "stop"
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in server.ask(stop=stop, stream=True))
    assert streamed == choice.message.content


def test_a_prompt_beyond_the_context_is_refused_and_the_next_one_answered(server: Running):
    with pytest.raises(openai.BadRequestError) as caught:
        server.ask(messages=[{"role": "user", "content": "word " * 30_000}])
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError) as caught:
        server.ask(max_tokens=CONTEXT)
    assert caught.value.code == "context_length_exceeded"
    assert server.ask().choices[0].message.content


def test_an_answer_without_a_bound_ends_with_the_context(server: Running):
    answer = server.ask(max_tokens=None)
    assert answer.usage.total_tokens <= CONTEXT
    assert answer.choices[0].finish_reason in ("length", "stop")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"model": None}, "model"),
        ({"top_p": float("nan")}, "top_p"),
    ],
)
def test_a_wrong_field_is_named(server: Running, wrong: dict[str, Any], param: str):
    answer = server.post("/v1/chat/completions", {"model": "base", "messages": QUESTION} | wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param)


def test_what_is_no_json_or_too_large_is_refused(server: Running):
    url = f"{server.url}/v1/chat/completions"
    assert httpx.post(url, content=b"{").status_code == 400
    assert httpx.post(url, content=b"[" * 100_000).status_code == 400
    assert httpx.post(url, content=b" " * (9 << 20)).status_code == 413


def test_messages_that_the_template_cannot_render_are_refused(server: Running):
    tokenizer = server.models.find("base").tokenizer
    before = tokenizer.chat_template
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(openai.BadRequestError, match="roles must alternate"):
            server.ask()
    finally:
        tokenizer.chat_template = before


def test_tools_reach_the_chat_template(server: Running):
    tokenizer = server.models.find("base").tokenizer
    before = tokenizer.chat_template
    tokenizer.chat_template = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}" + before
    tool: Any = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}
    try:
        assert server.ask(tools=[tool]).usage.prompt_tokens > server.ask().usage.prompt_tokens
    finally:
        tokenizer.chat_template = before


def test_adapters_are_loaded_under_names_and_unloaded(server: Running, base: Path, tmp_path: Path):
    adapter = save_adapter(base, tmp_path / "candidate", 1)
    assert server.load("shop-v2", adapter / "adapter").status_code == 200
    assert [model.id for model in server.client.models.list()] == ["base", "shop-v2"]
    assert server.ask(model="shop-v2").choices[0].message.content != server.ask().choices[0].message.content
    assert server.load("shop-v2", adapter).status_code == 400
    assert server.post("/v1/unload_lora_adapter", {"lora_name": "shop-v2"}).status_code == 200
    assert server.post("/v1/unload_lora_adapter", {"lora_name": "shop-v2"}).status_code == 404
    with pytest.raises(openai.NotFoundError):
        server.ask(model="shop-v2")


def test_what_is_no_model_is_refused(server: Running, base: Path, tmp_path: Path):
    assert server.load("x", tmp_path / "nothing").status_code == 404
    assert server.load("x", tmp_path).status_code == 422
    broken = save_adapter(base, tmp_path / "broken", 2)
    (broken / "adapter" / "adapter_model.safetensors").write_bytes(b"broken")
    assert server.load("x", broken).status_code == 422
    assert server.post("/v1/load_lora_adapter", {"lora_name": "x"}).status_code == 400
    assert server.ask().choices[0].message.content


def test_who_leaves_frees_his_slot(base: Path):
    server = Running(1, LONG)
    server.load("base", base)
    served = server.models.find("base")
    object.__setattr__(served, "ends", frozenset())
    body = {"model": "base", "messages": QUESTION, "temperature": 0}
    with pytest.raises(httpx.ReadTimeout):
        server.post("/v1/chat/completions", body, timeout=0.3)
    wait_until_idle(server, 2)
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body | {"stream": True}) as answer:
        next(answer.iter_lines())
    wait_until_idle(server, 2)
    assert server.ask(max_tokens=2).choices[0].message.content is not None
    server.stop()


def wait_until_idle(server: Running, seconds: float) -> None:
    """Far less than the answer would take."""
    deadline = time.monotonic() + seconds
    while not server.is_idle():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_before_anything_is_loaded_it_is_said_to_come_back():
    server = Running(1, CONTEXT)
    answer = server.post("/v1/chat/completions", {"model": "base", "messages": QUESTION})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert httpx.get(f"{server.url}/health").status_code == 200
    server.stop()


def test_a_dead_worker_is_told_by_the_health(base: Path):
    server = Running(1, CONTEXT)
    server.load("base", base)
    server.worker._tasks.put(lambda: 1 // 0)  # type: ignore[arg-type]
    server.worker.wait(10)
    assert httpx.get(f"{server.url}/health").status_code == 503
    assert server.post("/v1/chat/completions", {"model": "base", "messages": QUESTION}).status_code == 503
    server.stop()
