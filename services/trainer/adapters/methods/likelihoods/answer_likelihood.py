"""Log-probabilities of answers' tokens from a model's last hidden states, without all logits in fp32.

Logits are the largest array of a small model's training: 4 bytes x 152,000 for a token, and the loss makes several like
it. Here a chunk of tokens is worked on at a time, and what is kept for the way back are the logits in the format of the
arithmetic, or, where they are many, nothing: then they are made again.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

CHUNK_TOKENS = 2048
KEPT_BYTES = 4 << 30


class Likelihood(NamedTuple):
    """Of K tokens, each of shape (K,) in fp32; only `logps` can be learned from."""

    logps: Tensor
    entropies: Tensor
    """Of the distribution that the token was drawn from, in nats."""
    hits: Tensor
    """1 where no token is likelier."""


def measure_likelihood(hidden: Tensor, weight: Tensor, targets: Tensor) -> Likelihood:
    """Measure how likely the targets are, without holding all logits at once.

    hidden: (K, H), what a head without bias makes the logits of; weight: (V, H), the head's; targets: (K,).
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    return Likelihood(*_Likelihood.apply(hidden.to(dtype), weight.to(dtype), targets))


class _Likelihood(torch.autograd.Function):  # type: ignore[misc]  # torch is untyped here
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keeps = len(hidden) * len(weight) * hidden.element_size() <= KEPT_BYTES and any(ctx.needs_input_grad[:2])
        kept, found = [], []
        with torch.autocast(hidden.device.type, enabled=False):
            for rows, aims in zip(hidden.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True):
                logits = rows @ weight.t()
                found.append(_fused(_describe, logits)(logits, aims))
                kept += [logits] if keeps else []
        logps, norms, entropies, hits = (torch.cat(parts) for parts in zip(*found, strict=True))
        ctx.save_for_backward(hidden, weight, targets, norms, *kept)
        ctx.mark_non_differentiable(entropies, hits)
        return logps, entropies, hits

    @staticmethod
    def backward(ctx: Any, slopes: Tensor, *_: Any) -> tuple[Tensor | None, Tensor | None, None]:
        hidden, weight, targets, norms, *kept = ctx.saved_tensors
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        hidden_gradients: list[Tensor] = []
        several = len(hidden) > CHUNK_TOKENS  # their sum is taken in fp32
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if wants_weight and several else None
        for index, parts in enumerate(
            zip(*(each.split(CHUNK_TOKENS) for each in (hidden, targets, norms, slopes)), strict=True)
        ):
            rows, aims, part_norms, part_slopes = parts
            logits = kept[index] if kept else rows @ weight.t()
            gradient = _fused(_differentiate, logits)(logits, aims, part_norms, part_slopes)
            hidden_gradients += [gradient @ weight] if wants_hidden else []
            if wants_weight:
                product = gradient.t() @ rows
                weight_gradient = product if weight_gradient is None else weight_gradient.add_(product)
        return (
            torch.cat(hidden_gradients) if wants_hidden else None,
            weight_gradient.to(weight.dtype) if weight_gradient is not None else None,
            None,
        )


def _describe(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probability, logarithm of the sum of exponentials, entropy and hit of each row's target."""
    logits = logits.float()
    largest = logits.amax(-1)
    powers = (logits - largest[:, None]).exp()
    total = powers.sum(-1)
    norms = largest + total.log()
    aimed = logits.gather(-1, targets[:, None])[:, 0]
    entropies = norms - (powers * logits).sum(-1) / total
    return aimed - norms, norms, entropies, (aimed >= largest).float()


def _differentiate(logits: Tensor, targets: Tensor, norms: Tensor, slopes: Tensor) -> Tensor:
    """What the logits' gradient is when each log-probability's is its slope: slope · (target - probability)."""
    columns = torch.arange(logits.shape[-1], device=logits.device)
    probabilities = (logits.float() - norms[:, None]).exp()
    return (slopes[:, None] * ((columns == targets[:, None]).float() - probabilities)).to(logits.dtype)


def _fused(function: Any, logits: Tensor) -> Any:
    """On a GPU one pass over the logits in place of one for each operation."""
    return _compile(function) if logits.is_cuda else function


@cache
def _compile(function: Any) -> Any:
    return torch.compile(function)
