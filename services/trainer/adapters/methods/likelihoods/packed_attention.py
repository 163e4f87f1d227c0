"""Attention over several sequences that lie in one row, without padding: FlashAttention's kernels for sequences of
different length (Dao 2023, through `torch.nn.attention.varlen`) in 16 bits on a GPU.

The queries of sequence i are those from `cu_seq_lens_q[i]` to `cu_seq_lens_q[i + 1]`, its keys and values likewise; its
last query sees all of its keys, each query before that one key less.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

PACKED = "packed"
"""The name by which transformers knows this attention."""
CAUSAL = (-1, 0)
TOLERANCE = 0.02
"""Relative error of the kernel in bf16 against fp32; another mask gives about 1."""
_GROUPED: dict[str, Any] = (
    {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
)  # before torch 2.12 fewer key heads need no word


@dataclass(frozen=True)
class Layout:
    """Where the N sequences of a row lie.

    key_order: (K,), the tokens whose keys and values are laid out, sequence after sequence; None: all, as they stand
    cu_seq_lens_q, cu_seq_lens_k: (N + 1,), int32
    longest: an upper bound of a sequence's length. Best the same for all rows, or compiled code is compiled again.
    """

    key_order: Tensor | None
    cu_seq_lens_q: Tensor
    cu_seq_lens_k: Tensor
    longest: int

    def as_arguments(self) -> dict[str, Any]:
        """Return what a model passes on to its attention. The mask is of no use, but keeps transformers from making
        one.
        """
        return {
            "attention_mask": self.cu_seq_lens_q.new_zeros((1, 1, 1, 1)),
            "cu_seq_lens_q": self.cu_seq_lens_q,
            "cu_seq_lens_k": self.cu_seq_lens_k,
            "key_order": self.key_order,
            "longest": self.longest,
        }


def attend_packed(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    cu_seq_lens_k: Tensor | None = None,
    key_order: Tensor | None = None,
    longest: int = 0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers calls it, with (1, heads, T, size); other batches go through SDPA with their mask."""
    if cu_seq_lens_q is None or cu_seq_lens_k is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return output, None
    queries, keys, values = (each[0].transpose(0, 1).to(value.dtype) for each in (query, key, value))
    if key_order is not None:
        keys, values = keys.index_select(0, key_order), values.index_select(0, key_order)
    output = varlen_attn(
        queries,
        keys,
        values,
        cu_seq_lens_q,
        cu_seq_lens_k,
        longest,
        longest,
        scale=scaling,
        window_size=CAUSAL,
        **_GROUPED,
    )
    return output[None], None


AttentionInterface.register(PACKED, attend_packed)
AttentionMaskInterface.register(PACKED, sdpa_mask)


def is_kernel_right(heads: int, key_heads: int, size: int, device: torch.device) -> bool:
    return max(measure_kernel(heads, key_heads, size, device)) < TOLERANCE


def measure_kernel(heads: int, key_heads: int, size: int, device: torch.device) -> tuple[float, float]:
    """Return relative errors of the output and of its gradients on two small sequences, the second of which has more
    keys than queries, against plain arithmetic in fp32.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(1, count, 48, size, generator=generator).to(device, torch.bfloat16).requires_grad_()
        for count in (heads, key_heads, key_heads)
    ]
    layout = Layout(
        key_order=torch.cat([torch.arange(30), torch.arange(10), torch.arange(30, 48)]).to(device),
        cu_seq_lens_q=torch.tensor([0, 30, 48], dtype=torch.int32, device=device),
        cu_seq_lens_k=torch.tensor([0, 30, 58], dtype=torch.int32, device=device),
        longest=64,
    )
    sees = torch.zeros(48, 48, dtype=torch.bool)
    sees[:30, :30] = True
    sees[30:, :10] = sees[30:, 30:] = True
    found = attend_packed(None, *inputs, **layout.as_arguments())[0].float()
    query, key, value = (each.float() for each in inputs)
    mask = sees.tril().to(device)
    wanted = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True).transpose(1, 2)
    return measure_error(found, wanted), measure_error(_differentiate(found, inputs), _differentiate(wanted, inputs))


def _differentiate(output: Tensor, inputs: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten().float() for gradient in torch.autograd.grad(output.pow(2).sum(), inputs)])


def measure_error(found: Tensor, wanted: Tensor) -> float:
    """Return ‖found - wanted‖ / ‖wanted‖."""
    return float(((found - wanted).norm() / wanted.norm()).detach())
