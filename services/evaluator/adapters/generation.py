"""Batched generation with torch; runs in a process of its own (`python -m services.evaluator generate`).

Reads one job from standard input and writes JSON lines to standard output. Standard input stays open while the parent
lives; at its end this process ends too.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from services.evaluator.ports import GenerationJob, JobModel, Progress
from shared.artifacts.models import ADAPTER, find_base, is_adapter
from shared.conversation import derive_template_messages

FAILURE_LIMIT = 300


class ProgressLine(msgspec.Struct, tag="progress"):
    progress: Progress


class AnswersLine(msgspec.Struct, tag="answers"):
    version: str
    answers: dict[str, str]


class FailureLine(msgspec.Struct, tag="failure"):
    version: str
    summary: str


Line = ProgressLine | AnswersLine | FailureLine


def main() -> int:
    """Answer one job; status 1 after a failure, which is also a line."""
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not mix with the lines
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=GenerationJob)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    encoder = msgspec.json.Encoder()

    def emit(line: Line) -> None:
        output.write(encoder.encode(line) + b"\n")

    done = 0
    for model in job.models:
        try:
            answers = _answer(job, model, done, emit)
        except Exception as error:
            emit(FailureLine(model.version, f"{type(error).__name__}: {error}"[:FAILURE_LIMIT]))
            return 1
        emit(AnswersLine(model.version, answers))
        done += len(job.prompts)
    return 0


def _end_with_parent() -> None:
    """Read below Python's buffers: a thread that waits inside one aborts the interpreter at its end."""
    while os.read(0, 1):
        pass
    os._exit(2)


def _answer(job: GenerationJob, spec: JobModel, done_before: int, emit: Callable[[Line], None]) -> dict[str, str]:
    """Return one model's answers by prompt hash, made in batches of prompts of like length."""
    import torch

    tokenizer, model = _load(job, spec)
    rendered = _render(job, tokenizer)
    order = sorted(rendered, key=lambda prompt_hash: len(rendered[prompt_hash]))
    total = len(job.models) * len(job.prompts)
    torch.manual_seed(job.seed)
    answers: dict[str, str] = {}
    for start in range(0, len(order), job.batch_size):
        emit(ProgressLine(Progress(done=done_before + start, total=total, version=spec.version)))
        hashes = order[start : start + job.batch_size]
        texts = _generate(job, tokenizer, model, [rendered[prompt_hash] for prompt_hash in hashes])
        answers.update(zip(hashes, texts, strict=True))
    del model
    gc.collect()
    emit(ProgressLine(Progress(done=done_before + len(job.prompts), total=total, version=spec.version)))
    return answers


def _load(job: GenerationJob, spec: JobModel) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(
        spec.checkpoint, local_files_only=True, padding_side="left", truncation_side="left"
    )
    folder, dtype = Path(spec.checkpoint), getattr(torch, job.dtype)
    model = AutoModelForCausalLM.from_pretrained(find_base(folder), local_files_only=True, dtype=dtype)
    if is_adapter(folder):
        model = _merge(model, folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _merge(model: Any, folder: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder / ADAPTER).merge_and_unload()


def _render(job: GenerationJob, tokenizer: Any) -> dict[str, str]:
    """Render prompts with their tools, as model servers do; leave out those that the chat template refuses."""
    from jinja2.exceptions import TemplateError

    rendered: dict[str, str] = {}
    for prompt in job.prompts:
        try:
            rendered[prompt.prompt_hash] = tokenizer.apply_chat_template(
                derive_template_messages(prompt.messages),
                tools=prompt.tools or None,
                add_generation_prompt=True,
                tokenize=False,
            )
        except (TemplateError, TypeError):
            continue
    return rendered


def _generate(job: GenerationJob, tokenizer: Any, model: Any, texts: list[str]) -> list[str]:
    import torch

    room = model.config.max_position_embeddings - job.max_new_tokens
    batch = tokenizer(
        texts, return_tensors="pt", padding=True, truncation=True, max_length=max(1, room), add_special_tokens=False
    ).to(model.device)
    greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    with torch.inference_mode():
        output = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=job.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            **(greedy if job.sampling == "greedy" else {}),
        )
    fresh = output[:, batch["input_ids"].shape[1] :]
    return [str(text).strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]
