"""Pairs with their probability ε of being the wrong way round: how batches carry it, and the loss that uses it.

A pair's weight is 1 - 2ε, normalised over the dataset (`services/trainer/domain/pair_weights.py`).

Shapes: B is the number of pairs in a micro-batch; a tensor named `..._b` has the shape (B,).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import TrainingArguments
from trl.trainer import dpo_trainer, reward_trainer

COLUMNS = ("epsilon", "weight")
REFERENCES = ("ref_chosen_logps", "ref_rejected_logps")
SIDES = ("chosen_ids", "rejected_ids")


def calculate_noisy_losses(margin_b: Tensor, epsilon_b: Tensor) -> Tensor:
    """Calculate the logistic loss of each pair, corrected for half of its doubt and before its weight.

    loss = -log[(1 - δ)·σ(m) + δ·σ(-m)] / (1 - 2δ), with δ = ε/2

    This is the forward correction for label noise (Patrini et al. 2017, "Making Deep Neural Networks Robust to Label
    Noise", section 3.2), scaled so that at m = 0 it is as steep as the plain loss. It is never negative, falls with m,
    is -log σ(m) at ε = 0, and lets a doubtful pair go that the model contradicts clearly. With the whole ε in the
    bracket it would lose to plain DPO in the first pass, in which the model's contradiction means little (`make
    bench-epsilon`).

    Args:
        margin_b: margin m of the chosen answer over the rejected one, (B,).
        epsilon_b: probability that the pair is the wrong way round, in [0, 1), (B,).
    """
    delta_b = epsilon_b / 2
    right_b = torch.log1p(-delta_b) + F.logsigmoid(margin_b)
    wrong_b = torch.log(delta_b) + F.logsigmoid(-margin_b)
    return -torch.logaddexp(right_b, wrong_b) / (1 - epsilon_b)


def average_losses(loss_b: Tensor, arguments: TrainingArguments, accumulated: int | None) -> Tensor:
    """Average the weighted losses of a micro-batch so that every pair of the dataset counts by its weight alone.

    The trainer divides by the micro-batches of this update. Those at the end of a pass can be fewer and smaller; their
    pairs must not count for more than others.

    Args:
        loss_b: weighted loss of each pair, (B,).
        arguments: arguments of the run; its nominal sizes are what is divided by.
        accumulated: micro-batches of this update; None for an evaluation, which is a plain mean.
    """
    if accumulated is None:
        return loss_b.mean()
    return loss_b.sum() / arguments.train_batch_size * (accumulated / arguments.gradient_accumulation_steps)


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
    """Collates prompts and both answers for DPO, with `epsilon` and `weight`.

    The batch is TRL's, made in a fraction of the time, for which a GPU waits between two steps: masks follow from
    lengths, and ids are converted once.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [(example["prompt_ids"], example[side]) for side in SIDES for example in examples]
        ids = [(prompt + answer)[: self.max_length] for prompt, answer in rows]
        lengths, prompts = (torch.tensor([len(row) for row in each]) for each in (ids, [prompt for prompt, _ in rows]))
        batch = np.full((len(ids), int(lengths.max())), self.pad_token_id, dtype=np.int64)
        for filled, row in zip(batch, ids, strict=True):
            filled[: len(row)] = row
        columns = torch.arange(batch.shape[1])
        attention = columns < lengths[:, None]
        figures = [column for column in (*COLUMNS, *REFERENCES) if column in examples[0]]
        return {
            "input_ids": torch.from_numpy(batch),
            "attention_mask": attention.long(),
            "completion_mask": (attention & (columns >= prompts[:, None])).long(),
            **{name: torch.tensor([example[name] for example in examples], dtype=torch.float32) for name in figures},
        }


@dataclass
class EpsilonRewardCollator(_EpsilonColumns, reward_trainer.DataCollatorForPreference):  # type: ignore[misc]  # untyped
    """Collates both conversations for a reward model, with `epsilon` and `weight`."""
