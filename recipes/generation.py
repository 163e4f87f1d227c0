"""Answers of a checkpoint folder to many prompts, in batches, and how far two checkpoints are apart on them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from services.trainer.adapters.methods.models import load_tokenizer

BATCH = 16
Messages = list[dict[str, str]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Answer:
    text: str
    ended: bool
    """By itself, not at the limit of its tokens."""


def generate(
    checkpoint: Path, prompts: Sequence[Messages], *, max_new_tokens: int, say: Say, temperature: float = 0.0
) -> list[Answer]:
    """Return one answer for each prompt: the likeliest, or at a temperature above 0 a sampled one (the same each time).

    In bf16, which generates almost twice as fast as fp32 on a CPU.
    """
    tokenizer = load_tokenizer(checkpoint, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16).eval()
    model.generation_config = GenerationConfig()  # else the checkpoint's own settings are mixed in
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        do_sample=temperature > 0,
        **({"temperature": temperature, "top_k": 0} if temperature > 0 else {}),
    )
    torch.manual_seed(0)
    answers: list[Answer] = []
    began = time.monotonic()
    for start in range(0, len(prompts), BATCH):
        encoded = encode(tokenizer, prompts[start : start + BATCH])
        with torch.no_grad():
            ids = model.generate(**encoded, generation_config=settings)[:, encoded["input_ids"].shape[1] :]
        for row in ids.tolist():
            ended = tokenizer.eos_token_id in row
            answers.append(Answer(tokenizer.decode(row, skip_special_tokens=True).strip(), ended))
        left = (time.monotonic() - began) / len(answers) * (len(prompts) - len(answers))
        if len(answers) % (4 * BATCH) == 0:
            say(f"{len(answers)} of {len(prompts)} answers, {left:.0f} s left")
    return answers


def encode(tokenizer: Any, prompts: Sequence[Messages]) -> Any:
    return tokenizer.apply_chat_template(
        list(prompts), add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
    )


def measure_kl(
    trained: Path, start: Path, prompts: Sequence[Messages], answers: Sequence[Answer], *, temperature: float
) -> list[float]:
    """Return for each answer, drawn from `trained`, log p_trained - log p_start, in nats. Their mean estimates the KL.

    In fp32, for bf16 is too coarse for differences of logarithms.
    """
    ends = zip(
        _list_logprobs(trained, prompts, answers, temperature),
        _list_logprobs(start, prompts, answers, temperature),
        strict=True,
    )
    return [late - early for late, early in ends]


def _list_logprobs(
    checkpoint: Path, prompts: Sequence[Messages], answers: Sequence[Answer], temperature: float
) -> list[float]:
    tokenizer = load_tokenizer(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    values: list[float] = []
    for prompt, answer in zip(prompts, answers, strict=True):
        asked = encode(tokenizer, [prompt])["input_ids"]
        said = tokenizer(answer.text, add_special_tokens=False)["input_ids"]
        said += [tokenizer.eos_token_id] * answer.ended
        if not said:
            values.append(0.0)
            continue
        ids = torch.cat([asked, torch.tensor([said])], dim=1)
        with torch.no_grad():
            logits = model(ids, logits_to_keep=len(said) + 1).logits[0, :-1] / temperature
        values.append(float(logits.log_softmax(-1)[range(len(said)), said].sum()))
    return values
