"""Batches without padding: sequence after sequence in one row of tokens.

A token sees what it would see in a row of its own, at the position it would have there. The head is asked for the
tokens only that the loss counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from services.trainer.adapters.methods.likelihoods.answer_likelihood import Likelihood, measure_likelihood
from services.trainer.adapters.methods.likelihoods.packed_attention import (
    PACKED,
    Layout,
    is_kernel_right,
    measure_error,
)

IGNORED = -100
HIDDEN_TOLERANCE = 0.05
"""Relative error of bf16 hidden states between the kernel and the mask, of which each layer adds to the rounding."""


@dataclass(frozen=True)
class Pack:
    """A row of T tokens, K of which count; `rows` are those of the padded batch that it is made of.

    input_ids, position_ids: (1, T)
    kept: (K,), the column whose logits predict a token that counts; targets: (K,), that token; rows: (K,), its row
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: Layout
    kept: Tensor
    targets: Tensor
    rows: Tensor

    @property
    def attention_mask(self) -> Tensor:
        """(1, 1, T, T), True where a token (third dimension) sees another (fourth)."""
        tokens, layout = self.input_ids.shape[1], self.layout
        sees = torch.zeros(tokens, tokens, dtype=torch.bool)
        order = torch.arange(tokens) if layout.key_order is None else layout.key_order.cpu()
        ends = zip(layout.cu_seq_lens_q.tolist(), layout.cu_seq_lens_k.tolist(), strict=True)
        query_begin, key_begin = next(ends)
        for query_end, key_end in ends:
            keys = order[key_begin:key_end]
            shape = query_end - query_begin, len(keys)
            sees[query_begin:query_end, keys] = torch.ones(shape, dtype=torch.bool).tril(shape[1] - shape[0])
            query_begin, key_begin = query_end, key_end
        return sees[None, None].to(self.input_ids.device)


def pack_rows(inputs: Mapping[str, Tensor], longest: int) -> Pack:
    """Return a batch of B rows, padded on the right, of shape (B, L): `input_ids`, `attention_mask`, and `labels`, of
    which those that are not IGNORED count.
    """
    mask = inputs["attention_mask"].bool()
    lengths = mask.sum(dim=1)
    ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()
    labels = torch.where(mask, inputs["labels"], IGNORED).roll(-1, dims=1)  # what each token predicts
    labels[:, -1] = IGNORED
    flat = labels[mask]
    kept = (flat != IGNORED).nonzero()[:, 0]
    rows = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)[mask]
    return Pack(
        input_ids=inputs["input_ids"][mask][None],
        position_ids=torch.arange(mask.shape[1], device=mask.device).expand_as(mask)[mask][None],
        layout=Layout(None, ends, ends, longest),
        kept=kept,
        targets=flat[kept],
        rows=rows[kept],
    )


def read_pack(model: Any, pack: Pack, *, with_kernel: bool) -> Tensor:
    """Return the last hidden states, (T, H). `with_kernel`: the model `takes_kernel`; else it gets the mask."""
    arguments = pack.layout.as_arguments() if with_kernel else {"attention_mask": pack.attention_mask}
    decoder = find_causal_model(model).base_model
    hidden: Tensor = decoder(
        input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, **arguments
    ).last_hidden_state
    return hidden[0]


def score_pack(model: Any, pack: Pack, *, with_kernel: bool) -> Likelihood:
    hidden = read_pack(model, pack, with_kernel=with_kernel)
    return measure_likelihood(hidden[pack.kept], find_head(model).weight, pack.targets)


def find_causal_model(model: Any) -> Any:
    """Find it within what adapters wrap around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def find_head(model: Any) -> Any:
    return find_causal_model(model).get_output_embeddings()


def has_plain_head(model: Any) -> bool:
    """Return whether logits are hidden states times one matrix, as far as its kind tells: no adapter, no bias."""
    head = find_head(model)
    return type(head) is nn.Linear and head.bias is None


def take_up_kernel(model: Any, autocast: Any, longest: int) -> bool:
    """Have the model attend through the kernel for packed rows, if it is on a GPU, computes in 16 bits, and does what
    it does with a mask. Models whose layers look at different windows keep their mask.

    autocast: makes the context that the model computes in.
    """
    base = find_causal_model(model)
    config = base.config
    if base.device.type != "cuda" or config._attn_implementation != "sdpa" or not _sees_all(config, longest):
        return False
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    with autocast():
        if not (torch.is_autocast_enabled("cuda") or base.dtype in (torch.bfloat16, torch.float16)):
            return False
    if not is_kernel_right(heads, getattr(config, "num_key_value_heads", heads), size, base.device):
        return False
    base.set_attn_implementation(PACKED)
    if _reads_alike(model, autocast):
        return True
    base.set_attn_implementation("sdpa")
    return False


def _sees_all(config: Any, longest: int) -> bool:
    window = getattr(config, "sliding_window", None)
    return window is None or window >= longest or set(getattr(config, "layer_types", [""])) == {"full_attention"}


def _reads_alike(model: Any, autocast: Any) -> bool:
    ids = torch.arange(1, 41, device=find_causal_model(model).device).reshape(2, 20)
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    pack = pack_rows({"input_ids": ids % model.config.vocab_size, "attention_mask": mask, "labels": ids}, 32)
    was_training = model.training
    model.eval()
    with torch.no_grad(), autocast(), torch.compiler.set_stance("force_eager"):
        found, wanted = (read_pack(model, pack, with_kernel=with_kernel).float() for with_kernel in (True, False))
    model.train(was_training)
    return measure_error(found, wanted) < HIDDEN_TOLERANCE
