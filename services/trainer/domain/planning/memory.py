"""How much memory training takes on each device, before anything is loaded.

Weights, gradients and the optimizer's state follow Rajbhandari et al. 2020 (ZeRO), section 3.1, for the formats that
the methods really use: weights in fp32, which autocast copies to 16 bits, their gradients in fp32, and AdamW's two
moments, 4 + 4 + 8 bytes a trained weight; DeepSpeed in 16 bits keeps 2 + 2 + 12, the fp32 weights among its state.
Sections 5.1 to 5.3 say what each stage divides. Activations count what autograd keeps of a Llama-like layer (after
Korthikanti et al. 2022, section 4.1, with SwiGLU, RMSNorm and fused attention in place of GELU, LayerNorm and dropout).
"""

from dataclasses import dataclass
from typing import Literal

from services.trainer.domain.recipe.sections import ZERO_STAGES, Strategy

Precision = Literal["fp32", "bf16", "fp16"]
Offload = Literal["none", "optimizer", "all"]

ADAM_BYTES = 8
FP32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What of a model decides its memory."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    """Width of the feed-forward part."""
    key_value: int
    """Width of the keys, and of the values."""
    vocabulary: int


@dataclass(frozen=True)
class Workload:
    """What a device works on at a time."""

    rows: int
    """Sequences in a forward pass: a pair has two."""
    length: int
    """Tokens of the longest sequence."""
    precision: Precision
    trainable: int
    """Weights that are trained."""
    logit_copies: int
    """So many arrays as large as all logits in fp32 are there at once: they, what the loss makes of them, gradients."""
    activation_checkpointing: bool = False
    has_reference: bool = False
    """Whether the parent's log-probabilities are computed before the first step."""

    @property
    def tokens(self) -> int:
        return self.rows * self.length


@dataclass(frozen=True)
class Estimate:
    """Bytes on one device; what is offloaded is in the host's memory, in bytes for each process."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    host: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def count_lora(model: ModelSize, *, r: int, last_layers: int | None) -> int:
    """Count an adapter's weights on every linear layer: r·(inputs + outputs) each (Hu et al. 2021, section 4.1)."""
    h, i, kv = model.hidden, model.intermediate, model.key_value
    each_layer = 2 * (h + h) + 2 * (h + kv) + 3 * (h + i)
    return r * each_layer * min(last_layers or model.layers, model.layers)


def estimate_memory(
    model: ModelSize, work: Workload, strategy: Strategy, processes: int = 1, offload: Offload = "none"
) -> Estimate:
    """Estimate what one of so many processes holds at the worst moment of a step, without libraries' own needs.

    - weights are divided by zero3 and fsdp2, which put together a layer at a time: two of them are there whole
    - under fsdp2 a reference is computed before that, with embedding, head and one layer there in fp32
    - gradients and the optimizer's state are divided by zero2, zero3 and fsdp2
    - offloaded, gradients follow the state to the host as they are reduced (Ren et al. 2021, ZeRO-Offload, section 4)
    """
    sixteen_bit = work.precision != "fp32"
    in_deepspeed = strategy in ZERO_STAGES and sixteen_bit
    weight, gradient = (2, 2) if in_deepspeed else (FP32_BYTES, FP32_BYTES)
    state = ADAM_BYTES + (FP32_BYTES if in_deepspeed else 0)
    divides_weights = strategy in ("zero3", "fsdp2")
    divides_state = divides_weights or strategy == "zero2"
    state_share = processes if divides_state else 1

    weights = model.parameters * weight
    if divides_weights:
        largest = max(_count_layer(model), model.vocabulary * model.hidden)
        whole = 2 * largest * (2 if sixteen_bit else FP32_BYTES)
        divided = weights // processes + whole
        if strategy == "fsdp2" and work.has_reference:
            divided = max(divided, (2 * model.vocabulary * model.hidden + _count_layer(model)) * FP32_BYTES)
        weights = min(weights, divided)
    elif sixteen_bit and not in_deepspeed:
        weights += model.parameters * 2  # autocast's copies live until the end of the forward pass
    gradients = work.trainable * gradient // state_share
    if strategy == "ddp":
        gradients *= 2  # the buckets that are reduced
    optimizer = work.trainable * state // state_share
    host = 0
    if offload != "none":
        host, gradients, optimizer = gradients + optimizer, 0, 0
    if offload == "all":
        kept = weights - model.parameters * weight // processes
        host, weights = host + weights - kept, max(kept, 0)
    return Estimate(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=_estimate_activations(model, work),
        logits=work.logit_copies * work.tokens * model.vocabulary * FP32_BYTES,
        host=host,
    )


def _count_layer(model: ModelSize) -> int:
    h = model.hidden
    return 2 * h * h + 2 * h * model.key_value + 3 * h * model.intermediate


def _estimate_activations(model: ModelSize, work: Workload) -> int:
    """For each token: of a layer, the two norms' inputs and results (6h with their fp32 copies), queries, keys and
    values before and after the rotation (2h + 3kv), attention's result (h), the feed-forward part's four products (4i).

    With checkpointing: each layer's input, and one layer whole.
    """
    element = 2 if work.precision != "fp32" else FP32_BYTES
    layer = (9 * model.hidden + 3 * model.key_value + 4 * model.intermediate) * element
    if work.activation_checkpointing:
        return work.tokens * (model.layers * model.hidden * element + layer)
    return work.tokens * model.layers * layer
