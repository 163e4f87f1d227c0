"""Score pairs: the log-probabilities of their answers under a model, with or without padding.

Shapes: B pairs, so 2B sequences (chosen first, then rejected) of at most L tokens; V tokens in the vocabulary; C
columns from the first answer's start on. A tensor's suffix names its dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

from services.trainer.adapters.methods.likelihoods.packing import has_plain_head, score_pack
from services.trainer.adapters.methods.likelihoods.prefix_sharing import PACK_TOKENS, pack_pairs

TOLERANCES = {torch.float32: 5e-4, torch.bfloat16: 0.15}
"""Between the two ways, in nats, by the format of the weights; in fp32 another order of the same sums differs by less
than a tenth of it."""


@dataclass
class Scores:
    """Sums over the answers' tokens."""

    logps_2b: Tensor
    """Log-probabilities, in nats."""
    lengths_2b: Tensor
    """Tokens, at least 1."""
    entropy: Tensor
    """Mean over the answers' tokens, in nats, of no dimension; 0 when it was not asked for."""


def score_padded(model: Any, inputs: Mapping[str, Tensor], *, with_entropy: bool) -> Scores:
    """Score a padded batch, for any model. Inputs: input_ids, attention_mask and completion_mask of (2B, L).

    Logits are made for the columns from the first answer's start on, not for the prompts.
    """
    completion_mask_2bl, input_ids_2bl = inputs["completion_mask"], inputs["input_ids"]
    start = max(int(completion_mask_2bl.argmax(dim=1).min()) - 1, 0)
    outputs = model(
        input_ids=input_ids_2bl,
        attention_mask=inputs["attention_mask"],
        use_cache=False,
        logits_to_keep=input_ids_2bl.shape[1] - start,
    )
    logits_2bcv, mask_2bc = outputs.logits[:, :-1].float(), completion_mask_2bl[:, start + 1 :]
    logps_2bc = selective_log_softmax(logits_2bcv, input_ids_2bl[:, start + 1 :]) * mask_2bc
    entropy = torch.zeros((), device=logps_2bc.device)
    if with_entropy:
        with torch.no_grad():
            entropy_2bc = entropy_from_logits(logits_2bcv.detach()) * mask_2bc
            entropy = entropy_2bc.sum() / mask_2bc.sum().clamp(min=1)
    return Scores(logps_2bc.sum(dim=1), mask_2bc.sum(dim=1).clamp(min=1), entropy)


def score_shared(
    model: Any,
    inputs: Mapping[str, Tensor],
    *,
    with_entropy: bool,
    with_kernel: bool = False,
    longest: int | None = None,
) -> Scores:
    """Score the same batch without padding, for a model that `can_share`: each prompt once, logits for answers only.

    with_kernel: after `take_up_kernel`; all pairs are then read in one row, in which none is above `longest`.
    """
    lengths_2b = inputs["completion_mask"].sum(dim=1)
    logps_2b = torch.zeros(len(lengths_2b), device=lengths_2b.device)
    entropy = torch.zeros((), device=lengths_2b.device)
    for pack in pack_pairs(inputs, None if with_kernel else PACK_TOKENS, longest):
        found = score_pack(model, pack, with_kernel=with_kernel)
        logps_2b = logps_2b.index_add(0, pack.rows, found.logps)
        if with_entropy:
            entropy += found.entropies.sum()
    return Scores(logps_2b, lengths_2b.clamp(min=1), entropy / lengths_2b.sum().clamp(min=1))


def can_share(model: Any, max_length: int) -> bool:
    """Try whether both ways give the same on this model: some take no such mask, or look past it."""
    window = getattr(model.config, "sliding_window", None)
    if model.config._attn_implementation != "sdpa" or (window is not None and window < max_length):
        return False
    if not has_plain_head(model):
        return False
    ids = torch.arange(1, 25).reshape(4, 6) % model.config.vocab_size
    ids[2:, :3] = ids[:2, :3]  # the prompts
    attention = torch.ones_like(ids)
    attention[1:3, 5:] = 0  # answers of three and two tokens
    inputs = {"input_ids": ids, "attention_mask": attention, "completion_mask": attention.clone()}
    inputs["completion_mask"][:, :3] = 0
    with torch.no_grad():
        padded, shared = (score(model, inputs, with_entropy=False).logps_2b for score in (score_padded, score_shared))
    return bool(torch.allclose(padded, shared, rtol=0, atol=TOLERANCES.get(model.dtype, 0.0)))
