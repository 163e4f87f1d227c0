"""Batched generation with torch; runs in a process of its own (`python -m services.evaluator generate`).

Reads one job from standard input and writes JSON lines to standard output. Standard input stays open while the parent
lives; at its end this process ends too.
"""

import gc
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from services.evaluator.domain.pair_accuracy import HeldOutPair
from services.evaluator.ports import GenerationJob, JobModel, JobPrompt, Progress, Reply
from shared.artifacts.models import ADAPTER, find_base, is_adapter
from shared.conversation import derive_template_messages

FAILURE_LIMIT = 300
SCORED_ANSWERS = 40
"""Of how many answers the likelihood is measured, about."""


class ProgressLine(msgspec.Struct, tag="progress"):
    progress: Progress


class RepliesLine(msgspec.Struct, tag="replies"):
    """One batch of answers, by prompt hash."""

    version: str
    replies: dict[str, Reply]


class DivergencesLine(msgspec.Struct, tag="divergences"):
    divergences: dict[str, float]


class PairsLine(msgspec.Struct, tag="pairs"):
    pairs: dict[str, HeldOutPair]


class FailureLine(msgspec.Struct, tag="failure"):
    version: str
    summary: str


Line = ProgressLine | RepliesLine | DivergencesLine | PairsLine | FailureLine


@dataclass(frozen=True)
class Loaded:
    """A model that can answer: its prompts as texts, by hash."""

    tokenizer: Any
    model: Any
    rendered: dict[str, str]
    room: int
    """Tokens that a prompt may have, at most."""

    def tokenize(self, texts: list[str]) -> Any:
        return self.tokenizer(
            texts, return_tensors="pt", padding=True, truncation=True, max_length=self.room, add_special_tokens=False
        ).to(self.model.device)


def main() -> int:
    """Answer one job; status 1 after a failure, which is also a line."""
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not mix with the lines
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=GenerationJob)
    threading.Thread(target=end_with_parent, daemon=True).start()
    encoder = msgspec.json.Encoder()

    def emit(line: Line) -> None:
        output.write(encoder.encode(line) + b"\n")

    done, spec = 0, job.models[0]
    try:
        for spec in job.models:
            replies, own, looks = _answer(job, spec, done, emit)
            done += len(job.prompts)
        if len(job.models) > 1:
            spec = job.models[0]
            apart, theirs = _compare(job, spec, own, replies)
            emit(DivergencesLine(apart))
            if job.pairs:
                emit(PairsLine(subtract(looks, theirs)))
    except Exception as error:
        emit(FailureLine(spec.version, f"{type(error).__name__}: {error}"[:FAILURE_LIMIT]))
        return 1
    return 0


def end_with_parent() -> None:
    """Read below Python's buffers: a thread that waits inside one aborts the interpreter at its end."""
    while os.read(0, 1):
        pass
    os._exit(2)


def _answer(
    job: GenerationJob, spec: JobModel, done_before: int, emit: Callable[[Line], None]
) -> tuple[dict[str, Reply], dict[str, float], dict[str, HeldOutPair]]:
    """Say what one model has not said yet, in batches of prompts of like length.

    A batch's seed follows from its prompts, so that an answer does not depend on what was generated before it.
    Returns all answers, and the last model's own log-probability of each a token, both by prompt hash; and its looks at
    the job's pairs.
    """
    if spec is not job.models[-1] and all(prompt.prompt_hash in spec.replies for prompt in job.prompts):
        return spec.replies, {}, {}
    loaded = _load(job, spec)
    order = [prompt_hash for _, prompt_hash in sorted((len(text), key) for key, text in loaded.rendered.items())]
    total = len(job.models) * len(job.prompts)
    refused = {prompt.prompt_hash for prompt in job.prompts} - loaded.rendered.keys() - spec.replies.keys()
    emit(RepliesLine(spec.version, {prompt_hash: Reply(text=None) for prompt_hash in refused}))
    replies = dict(spec.replies)
    for start in range(0, len(order), job.batch_size):
        emit(ProgressLine(Progress(done=done_before + start, total=total, version=spec.version)))
        hashes = [each for each in order[start : start + job.batch_size] if each not in spec.replies]
        if hashes:
            made = dict(zip(hashes, _generate(job, loaded, hashes), strict=True))
            emit(RepliesLine(spec.version, made))
            replies |= made
    is_compared = spec is job.models[-1] and len(job.models) > 1
    own = _score(loaded, replies) if is_compared else {}
    looks = look_at_pairs(job, loaded) if is_compared else {}
    del loaded
    gc.collect()
    emit(ProgressLine(Progress(done=done_before + len(job.prompts), total=total, version=spec.version)))
    return replies, own, looks


def _load(job: GenerationJob, spec: JobModel) -> Loaded:
    tokenizer, model = load_model(spec.checkpoint, job.dtype)
    room = max(1, model.config.max_position_embeddings - job.max_new_tokens)
    return Loaded(tokenizer, model, _render(job.prompts, tokenizer), room)


def load_model(checkpoint: str, dtype: str) -> tuple[Any, Any]:
    """Return tokenizer and model of a folder, an adapter merged into its base."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = Path(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, padding_side="left", truncation_side="left"
    )
    model = AutoModelForCausalLM.from_pretrained(find_base(folder), local_files_only=True, dtype=getattr(torch, dtype))
    if is_adapter(folder):
        model = _merge(model, folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _merge(model: Any, folder: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder / ADAPTER).merge_and_unload()


def _render(prompts: Iterable[JobPrompt], tokenizer: Any) -> dict[str, str]:
    """Render prompts with their tools, as model servers do; leave out those that the chat template refuses."""
    from jinja2.exceptions import TemplateError

    rendered: dict[str, str] = {}
    for prompt in prompts:
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


def _generate(job: GenerationJob, loaded: Loaded, hashes: list[str]) -> list[Reply]:
    import torch

    tokenizer, model = loaded.tokenizer, loaded.model
    batch = loaded.tokenize([loaded.rendered[prompt_hash] for prompt_hash in hashes])
    greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    torch.manual_seed(_derive_seed(job.seed, hashes))
    with torch.inference_mode():
        output = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=job.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            **(greedy if job.sampling == "greedy" else {}),
        )
    ends = _list_ends(tokenizer, model)
    rows = output[:, batch["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return [
        _describe(row.tolist(), str(text).strip(), ends, job.max_new_tokens)
        for row, text in zip(rows, texts, strict=True)
    ]


def _derive_seed(seed: int, hashes: list[str]) -> int:
    return int.from_bytes(hashlib.sha256("\n".join([str(seed), *hashes]).encode()).digest()[:7], "big")


def _describe(tokens: list[int], text: str, ends: set[int], limit: int) -> Reply:
    length = next((place + 1 for place, token in enumerate(tokens) if token in ends), None)
    kept = tokens[: length or len(tokens)]
    is_cut = length is None and len(tokens) >= limit
    return Reply(text=text, tokens=kept, token_count=len(kept), is_cut=is_cut)


def _list_ends(tokenizer: Any, model: Any) -> set[int]:
    """Return the tokens that end an answer, or fill a row up behind its end."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return {end for end in (*listed, tokenizer.eos_token_id, tokenizer.pad_token_id) if end is not None}


def _compare(
    job: GenerationJob, spec: JobModel, own: dict[str, float], replies: dict[str, Reply]
) -> tuple[dict[str, float], dict[str, HeldOutPair]]:
    """Return by prompt hash how much less likely another model finds the answers, in nats a token; nothing if it
    reads other tokens. And its looks at the job's pairs."""
    loaded = _load(job, spec)
    looks = look_at_pairs(job, loaded)
    try:
        other = _score(loaded, replies)
    except (IndexError, RuntimeError):
        return {}, looks
    return {prompt_hash: own[prompt_hash] - other[prompt_hash] for prompt_hash in own if prompt_hash in other}, looks


def look_at_pairs(job: GenerationJob, loaded: Loaded) -> dict[str, HeldOutPair]:
    """Return, by pair, how much likelier this model finds the chosen answer; those that its template takes."""
    rendered = _render({pair.prompt.prompt_hash: pair.prompt for pair in job.pairs}.values(), loaded.tokenizer)
    looks = {}
    for pair in job.pairs:
        if pair.prompt.prompt_hash in rendered:
            prompt = rendered[pair.prompt.prompt_hash]
            chosen, rejected = (_find_likelihood(job, loaded, prompt, text) for text in (pair.chosen, pair.rejected))
            looks[pair.pair_id] = HeldOutPair(pair.group, chosen[0] - rejected[0], chosen[1], rejected[1])
    return looks


def subtract(candidate: dict[str, HeldOutPair], champion: dict[str, HeldOutPair]) -> dict[str, HeldOutPair]:
    """Return how much more the candidate's margins are than the champion's, of the pairs that both looked at."""
    return {
        pair_id: msgspec.structs.replace(look, margin=look.margin - champion[pair_id].margin)
        for pair_id, look in candidate.items()
        if pair_id in champion
    }


def _find_likelihood(job: GenerationJob, loaded: Loaded, rendered: str, text: str) -> tuple[float, int]:
    """Return an answer's log-probability with its end, and how many tokens it has, both up to the job's limit."""
    tokens = loaded.tokenizer(text, add_special_tokens=False)["input_ids"] + [loaded.tokenizer.eos_token_id]
    kept = tokens[: job.max_new_tokens]
    return float(_list_likelihoods(loaded, rendered, kept).sum()), len(kept)


def _score(loaded: Loaded, replies: dict[str, Reply]) -> dict[str, float]:
    """Return some answers' mean log-probability a token under this model, by prompt hash."""
    scores = {}
    known = sorted(prompt_hash for prompt_hash in loaded.rendered if replies[prompt_hash].tokens)
    for prompt_hash in known[:: max(1, len(known) // SCORED_ANSWERS)]:
        likelihoods = _list_likelihoods(loaded, loaded.rendered[prompt_hash], replies[prompt_hash].tokens)
        scores[prompt_hash] = float(likelihoods.mean())
    return scores


def _list_likelihoods(loaded: Loaded, rendered: str, tokens: list[int]) -> Any:
    """Return the log-probability of each token of an answer to a prompt: a tensor of its length."""
    import torch

    prompt = loaded.tokenize([rendered])["input_ids"]
    answer = torch.tensor([tokens], device=prompt.device)
    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.cat([prompt, answer], 1)).logits[0, prompt.shape[1] - 1 : -1].float()
    return torch.log_softmax(logits, -1).gather(1, answer[0, :, None])
