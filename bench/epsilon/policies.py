"""Many small policies trained at once: one for each history and loss, as one batch of matrices.

A policy is a network with one hidden layer over an answer's bag of words. What it scores above its untrained self
stands for β·log π/π_ref, as DPO has it; it has room enough to learn every pair by heart.

Shapes: H histories, L losses, B pairs of a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.epsilon.histories import Histories

HIDDEN = 32
BATCH = 16
LEARNING_RATE = 6e-3

Loss = Callable[[Tensor, Tensor], Tensor]
"""From margins and indices of pairs, each (H, B), to the loss of each pair, (H, B)."""


@dataclass
class Policies:
    """Networks of shape (networks, words, hidden) and so on."""

    into: Tensor
    bias: Tensor
    out: Tensor

    @classmethod
    def draw(cls, histories: int, words: int, generator: torch.Generator) -> "Policies":
        into = torch.randn(histories, words, HIDDEN, generator=generator) * (2 / 24) ** 0.5
        out = torch.randn(histories, HIDDEN, 1, generator=generator) / HIDDEN**0.5
        return cls(into, torch.zeros(histories, 1, HIDDEN), out)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.into, self.bias, self.out]

    def repeat(self, times: int) -> "Policies":
        return Policies(*(one.repeat(times, 1, 1).requires_grad_() for one in self.parameters))

    def score(self, bags: Tensor) -> Tensor:
        """Score answers of shape (networks, answers, words)."""
        return (torch.relu(torch.baddbmm(self.bias, bags, self.into)) @ self.out).squeeze(-1)

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        return self.score(one) - self.score(other)


def measure_accuracies(
    histories: Histories, losses: Mapping[str, Loss], passes: Sequence[int], seed: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Train with every loss from the same start in the same order, at a constant learning rate.

    Returns:
        By loss, the share of held-out items whose better answer gained more, after so many passes: (passes, H).
    """
    generator = torch.Generator().manual_seed(seed)
    chosen, rejected, better, worse = (
        torch.from_numpy(bags) for bags in (histories.chosen, histories.rejected, histories.better, histories.worse)
    )
    parents = Policies.draw(len(chosen), chosen.shape[-1], generator)
    policies = parents.repeat(len(losses))
    optimizer = torch.optim.Adam(policies.parameters, lr=LEARNING_RATE, fused=True)
    start, held_out_start = parents.compare(chosen, rejected), parents.compare(better, worse)
    found: dict[str, list[Tensor]] = {name: [] for name in losses}
    for count in range(1, max(passes) + 1):
        for rows, at in _deal(len(chosen), chosen.shape[1], generator):
            both = torch.cat([chosen[rows, at], rejected[rows, at]], dim=1).repeat(len(losses), 1, 1)
            optimizer.zero_grad()
            _sum_losses(policies, losses, both, start[rows, at], at).backward()
            optimizer.step()
        if count in passes:
            for name, right in zip(losses, _rank(policies, better, worse, held_out_start), strict=True):
                found[name].append(right)
    return {name: torch.stack(values).double().numpy() for name, values in found.items()}


def _sum_losses(policies: Policies, losses: Mapping[str, Loss], both: Tensor, start: Tensor, at: Tensor) -> Tensor:
    """Sum the losses of one batch over all networks, which share no weight.

    Args:
        both: the chosen answers, then the rejected ones, (L * H, 2 * B, words).
        start: margins of the parents, (H, B).
        at: indices of the pairs, (H, B).
    """
    first, second = policies.score(both).chunk(2, dim=1)
    margins = (first - second).view(len(losses), *at.shape) - start
    terms = [loss(margin, at).sum() for loss, margin in zip(losses.values(), margins, strict=True)]
    return torch.stack(terms).sum() / BATCH


def _deal(histories: int, pairs: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Deal the indices (rows, pairs) of each batch of one pass, every history in an order of its own."""
    order = torch.rand(histories, pairs, generator=generator).argsort(1)
    rows = torch.arange(histories)[:, None]
    for at in order.split(BATCH, dim=1):
        yield rows, at


def _rank(policies: Policies, better: Tensor, worse: Tensor, start: Tensor) -> Iterator[Tensor]:
    """By loss, the share of items ranked right, (H,)."""
    with torch.no_grad():
        for networks in zip(*(one.split(len(better)) for one in policies.parameters), strict=True):
            yield (Policies(*networks).compare(better, worse) > start).float().mean(1)
