"""Pairs with their probability ε of being the wrong way round: how batches carry it, and the loss that uses it.

Shapes: B is the number of pairs in a micro-batch; a tensor named `..._b` has the shape (B,).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl.trainer import dpo_trainer, reward_trainer

COLUMNS = ("epsilon", "weight")


def calculate_pair_losses(right_b: Tensor, wrong_b: Tensor, *, epsilon_b: Tensor, weight_b: Tensor) -> Tensor:
    """Calculate the loss of each pair under label noise.

    loss = weight · [(1 - ε)·l(chosen over rejected) - ε·l(rejected over chosen)]

    The bracket is the unbiased loss of Chowdhury et al. 2024 ("Provably Robust DPO", eq. 12) without its constant
    1/(1 - 2ε). The weight is (1 - 2ε) normalised over the dataset, not over the micro-batch, so accumulated
    micro-batches add up to the gradient of the whole batch.

    Args:
        right_b: l(chosen over rejected), (B,).
        wrong_b: l(rejected over chosen), (B,).
        epsilon_b: probability that the pair is the wrong way round, in [0, 1/2], (B,).
        weight_b: what the pair counts, with mean 1 over the dataset, (B,).
    """
    return weight_b * ((1 - epsilon_b) * right_b - epsilon_b * wrong_b)


class _EpsilonColumns:
    """Mixin for TRL's preference collators, which drop columns that they do not know without a word."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate as upstream does, and add `epsilon` and `weight` of shape (B,).

        TRL 1.12.0 builds the batch from the columns that it knows alone.
        """
        batch: dict[str, Any] = super().torch_call(examples)  # type: ignore[misc]  # of the collator beside this class
        for column in COLUMNS:
            batch[column] = torch.tensor([example[column] for example in examples], dtype=torch.float32)
        return batch


@dataclass
class EpsilonDPOCollator(_EpsilonColumns, dpo_trainer.DataCollatorForPreference):  # type: ignore[misc]  # untyped
    """Collates prompts and both answers for DPO, with `epsilon` and `weight`."""


@dataclass
class EpsilonRewardCollator(_EpsilonColumns, reward_trainer.DataCollatorForPreference):  # type: ignore[misc]  # untyped
    """Collates both conversations for a reward model, with `epsilon` and `weight`."""
