"""KL divergence of a checkpoint from others, on answers that none of them gave."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.trainer.adapters.artifacts.dataset import list_chosen, render_prompt
from services.trainer.adapters.methods.models import load_policy, load_tokenizer
from services.trainer.domain.guards.kl import Point


def measure_kl(
    candidate: Path, points: Mapping[Point, Path], validation: Path, *, examples: int, max_length: int
) -> dict[Point, float]:
    """Mean over answer tokens of sum_v p(v) (log p(v) - log q(v)), in nats; p the candidate's, q the other's.

    Exact over the vocabulary, teacher-forced on the chosen answers of the first `examples` different validation
    prompts: the same positions for every candidate of a dataset, and no sampling noise. What the candidate would say
    itself may differ more. Nothing when no answer fits into `max_length` tokens.
    """
    tokenizer = load_tokenizer(candidate)
    sequences = [
        sequence for row in _list_different(validation, examples) if (sequence := _tokenize(row, tokenizer, max_length))
    ]
    if not sequences:
        return {}
    theirs = {folder: _load(folder) for folder in set(points.values())}
    ours = _load(candidate)
    totals, tokens = dict.fromkeys(theirs, 0.0), 0
    with torch.inference_mode():
        for ids, start in sequences:
            p = _score(ours, ids, start)
            for folder, model in theirs.items():
                totals[folder] += float((p.exp() * (p - _score(model, ids, start))).sum())
            tokens += len(p)
    return {point: totals[folder] / tokens for point, folder in points.items()}


def _load(folder: Path) -> Any:
    model = load_policy(folder).eval()
    return model.cuda() if torch.cuda.is_available() else model


def _list_different(validation: Path, limit: int) -> list[dict[str, Any]]:
    rows = {str(row["prompt"]): row for row in reversed(list_chosen(validation))}
    return list(reversed(rows.values()))[:limit]


def _tokenize(row: dict[str, Any], tokenizer: Any, max_length: int) -> tuple[list[int], int] | None:
    """Tokenize a conversation: its tokens and where its answer starts; None when no token of the answer is left."""
    prompt = render_prompt(row, tokenizer, tokenize=False)
    answer = "".join(message["content"] for message in row["completion"])
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids = tokenizer(prompt + answer, add_special_tokens=False)["input_ids"][:max_length]
    return (ids, start) if len(ids) > start else None


def _score(model: Any, ids: list[int], start: int) -> Tensor:
    """Log-probabilities at the answer's positions: (tokens, vocabulary)."""
    logits = model(torch.tensor([ids], device=model.device), use_cache=False).logits
    scores: Tensor = logits[0, start - 1 : -1].float().log_softmax(-1)
    return scores
