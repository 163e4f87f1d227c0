"""A worker and models for tests, and the answers that transformers and PEFT give."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from local.model_server.batch import End, Failure, Piece, Sequence
from local.model_server.models import Models, Served
from local.model_server.sampling import Sampling
from local.model_server.text import Writer
from local.model_server.worker import Worker

GREEDY = Sampling(temperature=0)
CONTEXT = 200


@contextmanager
def run_models(slots: int = 8) -> Iterator[tuple[Worker, Models]]:
    worker = Worker()
    models = Models(worker, dtype=torch.float32, slots=slots, context=CONTEXT)
    worker.start()
    yield worker, models


class Asked:
    """A request, and what came of it."""

    def __init__(self, served: Served, text: str, most: int = 12, sampling: Sampling = GREEDY, **more: Any) -> None:
        self.prompt = render(served.tokenizer, text)
        self._events: queue.SimpleQueue[Piece | End | Failure] = queue.SimpleQueue()
        self.sequence = Sequence(
            tokens=list(self.prompt),
            adapter=served.adapter,
            sampling=sampling,
            most_tokens=most,
            ends=served.ends,
            writer=Writer(served.tokenizer),
            emit=self._events.put,
            **more,
        )

    def wait(self) -> list[Piece | End | Failure]:
        """Return the events, once the last has come."""
        events = [self._events.get(timeout=60)]
        while isinstance(events[-1], Piece):
            events.append(self._events.get(timeout=60))
        return events

    def wait_for_piece(self) -> None:
        """Wait until it has begun to be answered."""
        assert isinstance(self._events.get(timeout=60), Piece)

    def answer(self) -> list[int]:
        """Return the answer's tokens, once it is complete."""
        assert isinstance(self.wait()[-1], End)
        return self.sequence.tokens[len(self.prompt) :]


def render(tokenizer: Any, text: str) -> list[int]:
    messages = [{"role": "user", "content": text}]
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def generate(model: Any, prompt: list[int], most: int = 12) -> list[int]:
    """Return the greedy answer by transformers' own generation."""
    with torch.inference_mode():
        output = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=most,
            do_sample=False,
            temperature=None,
            top_k=None,
            top_p=None,
        )
    return [int(token) for token in output[0, len(prompt) :]]


def save_adapter(base: Path, folder: Path, seed: int, **settings: Any) -> Path:
    """Save a candidate with a random adapter on the base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from services.trainer.adapters.artifacts import candidate
    from shared.artifacts.models import BASE, BaseReference

    torch.manual_seed(seed)
    config = LoraConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | settings)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(std=0.3)
    candidate.save_adapter(model, base, BaseReference(str(base)), folder)
    (folder / BASE).symlink_to(base)
    return folder


def load_by_peft(base: Path, folder: Path) -> Any:
    """Load a candidate by PEFT, unmerged."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder / "adapter").eval()
