"""`server.py FOLDER NAME PORT`: answers chats by a model and adapters that are loaded by name, as vLLM's server does.

It speaks of OpenAI's and vLLM's protocol what deployer, gateway and agent use, and generates, one answer at a time. A
stream is as slow as a large model's: ten tokens a second, however few the answer has.
"""

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS_PER_SECOND = 10
PIECES_PER_SECOND = 2


class Models:
    """A base and its adapters; one at a time generates."""

    def __init__(self, folder: str, name: str) -> None:
        self.base = name
        self.names: set[str] = set()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._lock = threading.Lock()
        self.running = 0

    @contextmanager
    def count(self) -> Iterator[None]:
        """Count a request among those that run."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def follow(self, events: Iterator[str]) -> Iterator[str]:
        with self.count():
            yield from events

    def load(self, name: str, path: str) -> None:
        with self._lock:
            if self.names:
                self._model.load_adapter(path, adapter_name=name)
            else:
                self._model = PeftModel.from_pretrained(self._model, path, adapter_name=name).eval()
            self.names.add(name)

    def unload(self, name: str) -> None:
        with self._lock:
            self.names.remove(name)
            if self.names:
                self._model.delete_adapter(name)
            else:
                self._model = self._model.unload()

    def generate(self, name: str, body: dict[str, Any]) -> tuple[str, str, int, int]:
        """Return text, finish reason, and how many tokens were read and written."""
        inputs = self._tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        temperature = body.get("temperature", 1.0)
        sampling = {"do_sample": temperature > 0, **({"temperature": temperature} if temperature > 0 else {})}
        with self._lock, torch.inference_mode():
            length = inputs["input_ids"].shape[1]
            output = self._choose(name)(inputs, max_new_tokens=body.get("max_tokens") or 64, **sampling)[0, length:]
        stopped = int(output[-1]) == self._tokenizer.eos_token_id
        text = self._tokenizer.decode(output, skip_special_tokens=True)
        return text, "stop" if stopped else "length", length, len(output)

    def _choose(self, name: str) -> Any:
        def run(inputs: Any, **options: Any) -> Any:
            if name == self.base and self.names:
                with self._model.disable_adapter():
                    return self._model.generate(**inputs, **options)
            if name != self.base:
                self._model.set_adapter(name)
            return self._model.generate(**inputs, **options)

        return run


def create_app(models: Models) -> FastAPI:
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(f'vllm:num_requests_running{{model_name="{models.base}"}} {models.running}\n')

    @app.get("/v1/models")
    def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in [models.base, *models.names]]}

    @app.post("/v1/load_lora_adapter")
    def load(body: dict[str, Any]) -> str:
        if body["lora_name"] in models.names:
            raise HTTPException(400, f"{body['lora_name']} has already been loaded")
        models.load(body["lora_name"], body["lora_path"])
        return "Success"

    @app.post("/v1/unload_lora_adapter")
    def unload(body: dict[str, Any]) -> str:
        if body["lora_name"] not in models.names:
            raise HTTPException(404, f"{body['lora_name']} is not loaded")
        models.unload(body["lora_name"])
        return "Success"

    @app.post("/v1/chat/completions", response_model=None)
    def chat(body: dict[str, Any]) -> dict[str, Any] | StreamingResponse:
        if body["model"] not in {models.base, *models.names}:
            raise HTTPException(404, f"The model `{body['model']}` does not exist.")
        with models.count():
            text, reason, read, written = models.generate(body["model"], body)
        common = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body["model"]}
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        if body.get("stream"):
            seconds = (body.get("max_tokens") or 64) / TOKENS_PER_SECOND
            events = models.follow(write_stream(text, reason, common, usage, seconds))
            return StreamingResponse(events, media_type="text/event-stream")
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return common | {"object": "chat.completion", "choices": [choice], "usage": usage}

    return app


def write_stream(
    text: str, reason: str, common: dict[str, Any], usage: dict[str, int], seconds: float
) -> Iterator[str]:
    """Yield the events of an answer, spread over so many seconds."""

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps(common | {'object': 'chat.completion.chunk', 'choices': choices} | more)}\n\n"

    pieces = max(1, round(seconds * PIECES_PER_SECOND))
    for number in range(pieces):
        piece = text[len(text) * number // pieces : len(text) * (number + 1) // pieces]
        yield event([{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
        time.sleep(seconds / pieces)
    yield event([{"index": 0, "delta": {}, "finish_reason": reason}])
    yield event([], usage=usage)
    yield "data: [DONE]\n\n"


if __name__ == "__main__":
    folder, name, port = sys.argv[1:]
    torch.set_num_threads(1)
    uvicorn.run(
        create_app(Models(folder, name)), host=os.environ["HELIOTROPE_BIND_HOST"], port=int(port), log_level="warning"
    )
