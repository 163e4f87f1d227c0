"""The validation preference: how often a policy finds the answer that people chose more likely than the other one."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from services.trainer.adapters.artifacts.dataset import keep_renderable, load_pairs, render_conversation, render_prompt

MAX_PAIRS = 128
"""The first ones of the split; more would tell little more and cost time at every measurement."""


class ValidationPreference:
    """Ranks validation pairs by the mean log-likelihood of an answer's tokens.

    - plain likelihood, not its gain over the start: what counts is how the share falls, not where it begins
    - the mean, so that long answers are not at a disadvantage
    - pairs with a side above `max_length` tokens are left out
    """

    def __init__(self, path: Path, tokenizer: Any, max_length: int) -> None:
        """Tokenize the pairs. Raises: TrainingFailed: no such file, or a column is missing."""
        found = keep_renderable(load_pairs(path), tokenizer)
        pairs = [[_encode(tokenizer, pair, pair[side]) for side in ("chosen", "rejected")] for pair in found]
        self._pairs = [pair for pair in pairs if all(start < len(ids) <= max_length for ids, start in pair)][:MAX_PAIRS]

    def measure(self, model: Any) -> float | None:
        """Measure the share of pairs ranked right, ties as half; None without pairs. Draws no random numbers."""
        was_training = model.training
        model.eval()
        try:
            ranks = [_rank(*_calculate_means(model, pair)) for pair in self._pairs]
        finally:
            model.train(was_training)
        return sum(ranks) / len(ranks) if ranks else None


def _encode(tokenizer: Any, row: dict[str, Any], answer: Any) -> tuple[Tensor, int]:
    """Token ids of both together, and where the answer begins."""
    start = render_prompt(row, tokenizer, tokenize=True, return_dict=False)
    whole = render_conversation(row, answer, tokenizer, tokenize=True, return_dict=False)
    return torch.tensor(whole), len(start)


def _calculate_means(model: Any, answers: list[tuple[Tensor, int]]) -> list[float]:
    """Calculate the mean log-likelihood of each answer's tokens, in nats."""
    ids = pad_sequence([whole for whole, _ in answers], batch_first=True).to(model.device)
    mask = pad_sequence([torch.ones_like(whole) for whole, _ in answers], batch_first=True).to(model.device)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    likelihoods = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    return [
        float(row[start - 1 : len(whole) - 1].mean()) for row, (whole, start) in zip(likelihoods, answers, strict=True)
    ]


def _rank(chosen: float, rejected: float) -> float:
    return 0.5 if chosen == rejected else float(chosen > rejected)
