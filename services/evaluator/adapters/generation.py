"""Batched generation with torch; runs in a process of its own (`python -m services.evaluator generate`).

Reads one job from standard input and writes JSON lines to standard output. Standard input stays open while the parent
lives; at its end this process ends too.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from services.evaluator.ports import GenerationJob, JobModel, Progress
from shared.artifacts.models import ADAPTER, find_base, is_adapter
from shared.conversation import derive_template_messages

FAILURE_LIMIT = 300
SCORED_ANSWERS = 40
"""Of how many answers the likelihood is measured, about."""


class ProgressLine(msgspec.Struct, tag="progress"):
    progress: Progress


class AnswersLine(msgspec.Struct, tag="answers"):
    version: str
    answers: dict[str, str]
    cut: list[str]
    """Prompts whose answers the length limit cut."""


class DivergencesLine(msgspec.Struct, tag="divergences"):
    divergences: dict[str, float]


class FailureLine(msgspec.Struct, tag="failure"):
    version: str
    summary: str


Line = ProgressLine | AnswersLine | DivergencesLine | FailureLine


@dataclass(frozen=True)
class Reply:
    """One answer: the tokens of its prompt, its own up to its end, its text, and whether the limit cut it."""

    prompt: list[int]
    tokens: list[int]
    text: str
    is_cut: bool


def main() -> int:
    """Answer one job; status 1 after a failure, which is also a line."""
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not mix with the lines
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=GenerationJob)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    encoder = msgspec.json.Encoder()

    def emit(line: Line) -> None:
        output.write(encoder.encode(line) + b"\n")

    done, spec = 0, job.models[0]
    try:
        for spec in job.models:
            replies, own = _answer(job, spec, done, emit)
            done += len(job.prompts)
        if len(job.models) > 1:
            spec = job.models[0]
            emit(DivergencesLine(_compare(job, spec, own, replies)))
    except Exception as error:
        emit(FailureLine(spec.version, f"{type(error).__name__}: {error}"[:FAILURE_LIMIT]))
        return 1
    return 0


def _end_with_parent() -> None:
    """Read below Python's buffers: a thread that waits inside one aborts the interpreter at its end."""
    while os.read(0, 1):
        pass
    os._exit(2)


def _answer(
    job: GenerationJob, spec: JobModel, done_before: int, emit: Callable[[Line], None]
) -> tuple[dict[str, Reply], dict[str, float]]:
    """Say one model's answers, made in batches of prompts of like length.

    Returns them as tokens, and the last model's own log-probability of each a token, both by prompt hash.
    """
    import torch

    tokenizer, model = _load(job, spec)
    rendered = _render(job, tokenizer)
    order = sorted(rendered, key=lambda prompt_hash: len(rendered[prompt_hash]))
    total = len(job.models) * len(job.prompts)
    torch.manual_seed(job.seed)
    replies: dict[str, Reply] = {}
    for start in range(0, len(order), job.batch_size):
        emit(ProgressLine(Progress(done=done_before + start, total=total, version=spec.version)))
        hashes = order[start : start + job.batch_size]
        made = _generate(job, tokenizer, model, [rendered[prompt_hash] for prompt_hash in hashes])
        replies.update(zip(hashes, made, strict=True))
    emit(
        AnswersLine(
            spec.version,
            {prompt_hash: reply.text for prompt_hash, reply in replies.items()},
            [prompt_hash for prompt_hash, reply in replies.items() if reply.is_cut],
        )
    )
    own = _score(model, replies) if spec is job.models[-1] and len(job.models) > 1 else {}
    del model
    gc.collect()
    emit(ProgressLine(Progress(done=done_before + len(job.prompts), total=total, version=spec.version)))
    return replies, own


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


def _generate(job: GenerationJob, tokenizer: Any, model: Any, texts: list[str]) -> list[Reply]:
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
    width = batch["input_ids"].shape[1]
    answers = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    ends = _list_ends(tokenizer, model)
    replies = []
    for prompt, mask, row, text in zip(batch["input_ids"], batch["attention_mask"], output, answers, strict=True):
        tokens = row[width:].tolist()
        length = next((place + 1 for place, token in enumerate(tokens) if token in ends), None)
        kept = tokens[: length or len(tokens)]
        is_cut = length is None and len(tokens) >= job.max_new_tokens
        replies.append(Reply(prompt[mask.bool()].tolist(), kept, str(text).strip(), is_cut))
    return replies


def _list_ends(tokenizer: Any, model: Any) -> set[int]:
    """Return the tokens that end an answer, or fill a row up behind its end."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return {end for end in (*listed, tokenizer.eos_token_id, tokenizer.pad_token_id) if end is not None}


def _compare(job: GenerationJob, spec: JobModel, own: dict[str, float], replies: dict[str, Reply]) -> dict[str, float]:
    """Return by prompt hash how much less likely another model finds the answers, in nats a token; nothing if it
    reads other tokens."""
    _, model = _load(job, spec)
    try:
        other = _score(model, replies)
    except (IndexError, RuntimeError):
        return {}
    return {prompt_hash: own[prompt_hash] - other[prompt_hash] for prompt_hash in own}


def _score(model: Any, replies: dict[str, Reply]) -> dict[str, float]:
    """Return some answers' mean log-probability a token under this model, by prompt hash."""
    import torch

    scores = {}
    step = max(1, len(replies) // SCORED_ANSWERS)
    for prompt_hash, reply in list(replies.items())[::step]:
        tokens = torch.tensor([reply.prompt + reply.tokens], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=tokens).logits[0, len(reply.prompt) - 1 : -1].float()
        said = torch.log_softmax(logits, -1).gather(1, tokens[0, len(reply.prompt) :, None])
        scores[prompt_hash] = float(said.mean())
    return scores
