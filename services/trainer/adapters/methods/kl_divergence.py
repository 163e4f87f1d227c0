"""KL divergence of a checkpoint from others, on answers that none of them gave."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.trainer.adapters.artifacts.dataset import is_renderable, list_chosen, render_prompt
from services.trainer.adapters.methods.models import load_policy, load_tokenizer
from services.trainer.adapters.methods.resource_errors import free_memory, is_out_of_memory
from services.trainer.domain.recipe.sections import Point

Answer = tuple[list[int], int]
"""Tokens of a conversation, and where its answer starts."""
Load = Callable[[Path, str], Any]
KEPT_BYTES = 2 << 30
"""Of the candidate's log-probabilities in the host's memory; answers beyond it are not measured."""


def measure_kl(
    candidate: Path,
    points: Mapping[Point, Path],
    validation: Path,
    *,
    examples: int,
    max_length: int,
    devices: Sequence[str] | None = None,
    load: Load | None = None,
) -> dict[Point, float]:
    """Measure the mean over answer tokens of sum_v p(v) (log p(v) - log q(v)) in nats: p the candidate, q another.

    Exact over the vocabulary, teacher-forced on the chosen answers of the first `examples` different validation
    prompts, the token that ends them included: the same positions for every candidate of a dataset, and no sampling
    noise. What the candidate would say itself may differ more. Nothing when no answer fits into `max_length` tokens.

    One model is loaded at a time. Where a device's memory runs out, the next one measures; by default the GPU, if there
    is one, and then the CPU.
    """
    tokenizer = load_tokenizer(candidate)
    rows = _list_different(validation, tokenizer, examples)
    sequences = [sequence for row in rows if (sequence := _tokenize(row, tokenizer, max_length))]
    if not sequences:
        return {}
    remaining = list(devices or (["cuda"] if torch.cuda.is_available() else []) + ["cpu"])
    while True:
        try:
            return _measure_on(remaining.pop(0), candidate, points, sequences, load or _load)
        except Exception as error:
            if not remaining or not is_out_of_memory(error):
                raise
        free_memory()


def _measure_on(
    device: str, candidate: Path, points: Mapping[Point, Path], sequences: list[Answer], load: Load
) -> dict[Point, float]:
    ours_tv = _score_all(load(candidate, device), sequences)
    tokens = sum(map(len, ours_tv))
    means: dict[Path, float] = {}
    for folder in dict.fromkeys(points.values()):
        theirs_tv = _score_all(load(folder, device), sequences[: len(ours_tv)])
        nats = (float((p.exp() * (p - q)).sum()) for p, q in zip(ours_tv, theirs_tv, strict=True))
        means[folder] = sum(nats) / tokens
    return {point: means[folder] for point, folder in points.items()}


def _load(folder: Path, device: str) -> Any:
    return load_policy(folder).eval().to(device)


def _score_all(model: Any, sequences: list[Answer]) -> list[Tensor]:
    """Log-probabilities at each answer's positions, (tokens, vocabulary) on the CPU, for as many as may be kept."""
    kept: list[Tensor] = []
    with torch.inference_mode():
        for ids, start in sequences:
            kept.append(_score(model, ids, start).cpu())
            if sum(scores.nbytes for scores in kept) > KEPT_BYTES:
                break
    return kept


def _list_different(validation: Path, tokenizer: Any, limit: int) -> list[dict[str, Any]]:
    rows = {str(row["prompt"]): row for row in reversed(list_chosen(validation))}
    renderable = (row for row in reversed(rows.values()) if is_renderable(row, tokenizer))
    return list(islice(renderable, limit))


def _tokenize(row: dict[str, Any], tokenizer: Any, max_length: int) -> Answer | None:
    """Tokenize a conversation up to the token that ends its answer; None when no token of the answer is left."""
    prompt = render_prompt(row, tokenizer, tokenize=False)
    answer = "".join(message["content"] for message in row["completion"])
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids = tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids = (ids + end)[:max_length]
    return (ids, start) if len(ids) > start else None


def _score(model: Any, ids: list[int], start: int) -> Tensor:
    """Log-probabilities at the answer's positions: (tokens, vocabulary)."""
    logits = model(torch.tensor([ids], device=model.device), use_cache=False).logits
    scores: Tensor = logits[0, start - 1 : -1].float().log_softmax(-1)
    return scores
