"""`server.py FOLDER NAME PORT`: answers chats by a model and adapters that are loaded by name, as vLLM's server does.

It speaks of OpenAI's and vLLM's protocol what deployer, gateway and agent use, and generates, one answer at a time.
"""

import os
import sys
import threading
import time
import uuid
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


class Models:
    """A base and its adapters; one at a time generates."""

    def __init__(self, folder: str, name: str) -> None:
        self.base = name
        self.names: set[str] = set()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._lock = threading.Lock()

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

    @app.post("/v1/chat/completions")
    def chat(body: dict[str, Any]) -> dict[str, Any]:
        if body["model"] not in {models.base, *models.names}:
            raise HTTPException(404, f"The model `{body['model']}` does not exist.")
        text, reason, read, written = models.generate(body["model"], body)
        message = {"role": "assistant", "content": text}
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }

    return app


if __name__ == "__main__":
    folder, name, port = sys.argv[1:]
    torch.set_num_threads(1)
    uvicorn.run(
        create_app(Models(folder, name)), host=os.environ["HELIOTROPE_BIND_HOST"], port=int(port), log_level="warning"
    )
