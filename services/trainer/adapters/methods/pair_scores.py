"""What a model makes of a batch of pairs: the log-probabilities of their answers, with or without padding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

from services.trainer.adapters.methods.prefix_sharing import pack_pairs

TOLERANCE = 5e-4
"""Between the two ways in fp32, in nats; another order of the same sums differs by less than a tenth of it."""


@dataclass
class Scores:
    """Sums over the answers' tokens, for a batch of B pairs: chosen first, then rejected, shape (2B,)."""

    logps: Tensor
    lengths: Tensor
    entropy: float
    """Mean over the answers' tokens, in nats; 0 when it was not asked for."""


def score_padded(model: Any, inputs: Mapping[str, Tensor], *, with_entropy: bool) -> Scores:
    """For any model; logits are made for the columns from the first answer's start on, not for the prompts."""
    completion_mask, input_ids = inputs["completion_mask"], inputs["input_ids"]
    start = max(int(completion_mask.argmax(dim=1).min()) - 1, 0)
    outputs = model(
        input_ids=input_ids,
        attention_mask=inputs["attention_mask"],
        use_cache=False,
        logits_to_keep=input_ids.shape[1] - start,
    )
    logits, mask = outputs.logits[:, :-1].float(), completion_mask[:, start + 1 :]
    logps = selective_log_softmax(logits, input_ids[:, start + 1 :]) * mask
    entropy = 0.0
    if with_entropy:
        with torch.no_grad():
            entropy = float((entropy_from_logits(logits.detach()) * mask).sum() / mask.sum().clamp(min=1))
    return Scores(logps.sum(dim=1), mask.sum(dim=1).clamp(min=1), entropy)


def score_shared(model: Any, inputs: Mapping[str, Tensor], *, with_entropy: bool) -> Scores:
    """For a model that `can_share`: no padding, each prompt once, and logits for the answers' tokens only."""
    lengths = inputs["completion_mask"].sum(dim=1)
    logps = torch.zeros(len(lengths), device=lengths.device)
    entropy = torch.zeros((), device=lengths.device)
    for pack in pack_pairs(inputs):
        outputs = model(
            input_ids=pack.input_ids,
            position_ids=pack.position_ids,
            attention_mask=pack.attention_mask,
            use_cache=False,
            logits_to_keep=pack.kept,
        )
        logits = outputs.logits.float()
        logps = logps.index_add(0, pack.rows, selective_log_softmax(logits, pack.targets[None])[0])
        if with_entropy:
            with torch.no_grad():
                entropy += entropy_from_logits(logits.detach()).sum()
    return Scores(logps, lengths.clamp(min=1), float(entropy / lengths.sum().clamp(min=1)))


def can_share(model: Any, max_length: int) -> bool:
    """Whether both ways give the same on this model: some take no such mask, or look at more than it lets them see."""
    window = getattr(model.config, "sliding_window", None)
    if model.config._attn_implementation != "sdpa" or (window is not None and window < max_length):
        return False
    ids = torch.arange(1, 25).reshape(4, 6) % model.config.vocab_size
    ids[2:, :3] = ids[:2, :3]  # the prompts
    attention = torch.ones_like(ids)
    attention[1:3, 5:] = 0  # answers of three and two tokens
    inputs = {"input_ids": ids, "attention_mask": attention, "completion_mask": attention.clone()}
    inputs["completion_mask"][:, :3] = 0
    with torch.no_grad():
        padded, shared = (score(model, inputs, with_entropy=False).logps for score in (score_padded, score_shared))
    return bool(torch.allclose(padded, shared, rtol=0, atol=TOLERANCE))
