"""What training a large model takes on several machines: memory of each GPU and host, time, checkpoints, money.

An estimate on paper. `bench/large_models.py` holds it against published runs; `docs/large-models.md` has the table, and
says which constants were set by looking at it.
"""

from dataclasses import dataclass
from typing import Literal

from services.trainer.domain.planning.models import Shape

Precision = Literal["bf16", "fp8"]
Recomputation = Literal["none", "selective", "full"]
Offload = Literal["none", "optimizer", "all"]

STATE_BYTES = {"weights": 4, "gradients": 4, "optimizer": 8}
"""Of a trained weight under FSDP2: all in fp32; what is put together is in bf16."""
LOGIT_BYTES = 16
"""Of a logit: itself in bf16, in fp32, its log-softmax, and both gradients."""
GATHERED = 3
"""Copies of a layer's input, whole, that tensor parallelism puts together around a layer."""
HOST_BUFFERS = 1.5
"""What offloading takes of the host's memory beside the state itself: pinned buffers (DeepSpeed's own factor)."""
NETWORK_SHARE = 0.7
"""Of a network's nominal speed that collectives reach."""
EXPERT_SECONDS = 0.4e-6
"""For each token, mixture and chosen expert: routing, permuting, sending and small matrices, whatever their width."""
RECOMPUTED = {"none": 1.0, "selective": 1.1, "full": 4 / 3}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A kind of machine that is hired by the hour."""

    name: str
    gpus: int
    gpu_bytes: float
    bf16_flops: float
    """Of a GPU, nominal, dense; fp8 is twice that where it has it."""
    efficiency: dict[Precision, float]
    """Share of the nominal speed that training reaches within its kernels."""
    memory_bandwidth: float
    """Of a GPU, bytes a second: what generating an answer runs at."""
    network: float
    """Of the machine to others, bytes a second."""
    host_bytes: float
    hourly: float
    """Price of an hour."""
    disk: float = 2e9
    """Bytes a second to the object store."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a model is divided among GPUs."""

    gpus: int
    tensor: int = 1
    """GPUs that a matrix is divided among; the sequence too, outside of matrices."""
    pipeline: int = 1
    interleaved: int = 1
    """Pieces of the model that each stage of the pipeline has."""
    context: int = 1
    """GPUs that a sequence is divided among."""
    expert: int = 1
    """GPUs that a mixture's experts are divided among."""
    divides: Literal["all", "optimizer"] = "all"
    """Among data-parallel copies: weights, gradients and optimizer (FSDP2, ZeRO-3), or the optimizer alone (ZeRO-1)."""
    rows: int = 1
    """At a time."""
    accumulation: int = 1
    """Times that many rows to a step; with a pipeline, these are what fills it."""
    recomputation: Recomputation = "none"
    offload: Offload = "none"

    @property
    def copies(self) -> int:
        """Data-parallel copies."""
        return self.gpus // (self.tensor * self.pipeline * self.context)

    @property
    def bubble(self) -> float:
        """Share of the time that a pipeline stands idle, of the time that it works (Narayanan et al. 2021, 2.2)."""
        return (self.pipeline - 1) / (self.accumulation * self.interleaved)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is computed."""

    length: int
    precision: Precision = "bf16"
    trainable: float | None = None
    """Weights that are trained; None: all."""
    forward_only: float = 0.0
    """Passes without a way back for each trained one: DPO's reference is 1."""
    frozen_copies: float = 0.0
    """Whole further models in bf16 beside the trained one, divided as it is."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes on the GPU that has most, and on a machine's host; seconds."""

    weights: float
    gradients: float
    optimizer: float
    whole: float
    """Layers, or a stage, put together for computing."""
    activations: float
    logits: float
    host: float
    step_seconds: float
    """Of an optimizer step, computing or communicating, whichever is longer."""
    communication_seconds: float
    checkpoint_bytes: float
    checkpoint_seconds: float

    @property
    def gpu_bytes(self) -> float:
        """On a GPU, without what libraries keep for themselves."""
        states = self.weights + self.gradients + self.optimizer
        return states + self.whole + self.activations + self.logits


def estimate_needs(shape: Shape, layout: Layout, work: Work, machine: Machine) -> Needs:
    """Estimate memory and time of an optimizer step, and of a checkpoint."""
    trained = work.trainable if work.trainable is not None else float(shape.weights)
    states = _estimate_states(shape, layout, work, trained)
    seconds = calculate_token_seconds(shape, layout, work, machine) * layout.rows * work.length / layout.context
    communication = _estimate_communication(shape, layout, machine, trained)
    step = max(seconds, communication) * layout.accumulation
    saved = trained * (4 + 8)
    machines = max(layout.gpus // machine.gpus, 1)
    activations, logits = _estimate_activations(shape, layout, work)
    return Needs(
        **states,
        activations=activations,
        logits=logits,
        step_seconds=step,
        communication_seconds=communication * layout.accumulation,
        checkpoint_bytes=saved,
        checkpoint_seconds=saved / (machine.disk * machines),
    )


def _count_held(shape: Shape, layout: Layout) -> tuple[float, float]:
    """Count the weights of one copy on a GPU, before copies divide it: (not in experts, in experts)."""
    stage = layout.pipeline
    embeddings = shape.vocabulary * shape.hidden
    body = (shape.other_weights - 2 * embeddings * (not shape.tied)) / stage
    others = (body + embeddings) / layout.tensor
    return others, shape.expert_weights / (stage * layout.expert)


def _estimate_states(shape: Shape, layout: Layout, work: Work, trained: float) -> dict[str, float]:
    others, experts = _count_held(shape, layout)
    copies, expert_copies = layout.copies, max(layout.gpus // (layout.pipeline * layout.expert), 1)
    ratio = trained / shape.weights
    divided = others / copies + experts / expert_copies
    frozen = divided * 2 * work.frozen_copies
    if layout.divides == "optimizer":  # Megatron's: bf16 weights and fp32 gradients whole, the rest divided
        weights, gradients = (others + experts) * 2, (others + experts) * 4 * ratio
        optimizer, whole = divided * 12 * ratio, 0.0
    else:
        kept = STATE_BYTES["weights"] if ratio == 1 else 2  # what is frozen lies there in bf16
        weights = divided * (kept if ratio == 1 else 2 + 4 * ratio)
        gradients = divided * STATE_BYTES["gradients"] * ratio
        optimizer = divided * STATE_BYTES["optimizer"] * ratio
        whole = _estimate_whole(shape, layout, others + experts, ratio)
    host = 0.0
    if layout.offload != "none":
        host, gradients, optimizer = gradients + optimizer, 0.0, 0.0
    if layout.offload == "all":
        host, weights = host + weights, 0.0
    return {
        "weights": weights + frozen,
        "gradients": gradients,
        "optimizer": optimizer,
        "whole": whole,
        "host": host * HOST_BUFFERS * min(layout.gpus, 8),
    }


def _estimate_whole(shape: Shape, layout: Layout, held: float, ratio: float) -> float:
    """Estimate what FSDP2 puts together: two layers, or in a pipeline the stage, whose gradients wait whole too."""
    if layout.pipeline > 1:
        return held * (2 + 4 * ratio)
    largest = max(shape.largest_layer, shape.vocabulary * shape.hidden)
    return 2 * largest * 2 / layout.tensor


def _estimate_activations(shape: Shape, layout: Layout, work: Work) -> tuple[float, float]:
    """Estimate (activations, logits), in bf16, on the fuller of the pipeline's first and last stage."""
    tokens = layout.rows * work.length / layout.context
    in_flight = min(layout.pipeline, layout.accumulation) * (1 + (layout.interleaved > 1) * 0.25)
    layers = -(-shape.layers // layout.pipeline)
    layer = shape.layer_outputs * 2 / layout.tensor
    entry = shape.hidden * 2 / layout.tensor
    gathered = GATHERED * shape.hidden * 2 if layout.tensor > 1 else 0.0
    selective = (3.5 * shape.hidden + shape.key_value + _feed_forward_width(shape)) * 2 / layout.tensor
    kept = {"none": layer, "selective": selective, "full": entry}[layout.recomputation]
    once = layer if layout.recomputation != "none" else 0.0
    logits = tokens * shape.vocabulary / layout.tensor * LOGIT_BYTES
    first = tokens * (layers * kept * in_flight + once + gathered)
    last = tokens * (layers * kept + once + gathered)
    return (first, 0.0) if layout.pipeline > 1 and first > last + logits else (last, logits)


def _feed_forward_width(shape: Shape) -> float:
    if not shape.experts:
        return shape.intermediate
    return (shape.experts_per_token + shape.shared_experts) * (shape.expert_intermediate + shape.hidden)


def calculate_token_flops(shape: Shape, length: int) -> float:
    """Calculate a token's arithmetic on the way there and back: 6 for each active weight, and causal attention."""
    return 6.0 * shape.active_weights + 6.0 * shape.layers * shape.query * length


def calculate_token_seconds(shape: Shape, layout: Layout, work: Work, machine: Machine) -> float:
    """Calculate what a token takes of one copy's GPUs, in seconds, before communication between copies."""
    ratio = 1.0 if work.trainable is None else work.trainable / shape.weights
    backward = (1.0 + ratio) / 3 + 1 / 3  # frozen weights need no gradient of their own
    passes = backward * RECOMPUTED[layout.recomputation] + work.forward_only / 3
    speed = machine.bf16_flops * (2 if work.precision == "fp8" else 1) * machine.efficiency[work.precision]
    computing = calculate_token_flops(shape, work.length) * passes / speed
    through = shape.mixture_layers * shape.experts_per_token
    experts = EXPERT_SECONDS * through * passes
    return (computing * (1 + layout.bubble) + experts) / (layout.tensor * layout.pipeline)


def _estimate_communication(shape: Shape, layout: Layout, machine: Machine, trained: float) -> float:
    """Estimate what copies send each other for each micro-batch: weights twice and gradients once, through all of a
    machine's network cards; within one machine, nothing that counts.
    """
    if layout.gpus <= machine.gpus or layout.divides != "all" or layout.pipeline > 1:
        return 0.0
    sent = 2 * 2 * shape.weights + 2 * trained
    return sent / (machine.network * NETWORK_SHARE) / layout.tensor


def calculate_generation_seconds(shape: Shape, machine: Machine, *, gpus: int, rows: int, tokens: int) -> float:
    """Calculate how long `rows` answers of so many tokens take at once, the weights in bf16 divided among so many GPUs.

    Every token reads all weights that the batch meets, and its own keys and values (decoding is bound by memory), and
    computes 2 for each active weight.
    """
    met = shape.other_weights + shape.expert_weights * min(1.0, rows * shape.experts_per_token / max(shape.experts, 1))
    cache = rows * tokens / 2 * 2 * shape.key_value * shape.layers * 2
    reading = (met * 2 + cache) / (machine.memory_bandwidth * 0.6 * gpus)
    computing = rows * 2 * shape.active_weights / (machine.bf16_flops * machine.efficiency["bf16"] * gpus)
    return tokens * max(reading, computing)
