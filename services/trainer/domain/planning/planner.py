"""Which strategy a run needs: a pure choice among estimates."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from services.trainer.domain.planning.memory import (
    Estimate,
    ModelSize,
    Offload,
    Precision,
    Workload,
    count_lora,
    estimate_memory,
)
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import DISTRIBUTED_METHODS, PRECISION_METHODS, Parallelism, Strategy

GIB = 1 << 30
ROWS = {"dpo": 2, "kto": 2, "reward": 2}
"""Sequences in a forward pass for each row of a batch; 1 for the other methods."""
LOGIT_COPIES = {"sft": 6, "reward": 0}
"""8 for the other methods: `make bench-planner` measured `sft` and `dpo`. A reward model has none."""
REFERENCE_METHODS = ("dpo", "kto")
"""Those that compute the parent's log-probabilities before the first step."""
LADDER: tuple[tuple[Strategy, Offload], ...] = (
    ("ddp", "none"),
    ("zero2", "none"),
    ("fsdp2", "none"),
    ("zero2", "optimizer"),
    ("zero3", "all"),
)
"""From what sends least between devices to what needs least of them."""


@dataclass(frozen=True)
class Devices:
    kind: Literal["cpu", "gpu"]
    count: int
    memory_bytes: int
    """Free on each; of several that differ, on the fullest."""
    reserve: float = 0.15
    """Share left to libraries, fragmentation and what the estimate does not know."""
    free: tuple[int, ...] = ()
    """Free on each in turn, where that is known."""
    computes_in_bf16: bool = False
    """Whether they have units for it."""

    def count_usable(self, processes: int = 1) -> int:
        """Count the bytes that each of so many processes may use; they take the devices from the first on."""
        return int(min(self.free[:processes], default=self.memory_bytes) * (1 - self.reserve))


@dataclass(frozen=True)
class Plan:
    parallelism: Parallelism
    batch_size: int
    """Rows at a time on each device."""
    gradient_accumulation_steps: int
    estimate: Estimate
    fits: bool


def plan_run(recipe: Recipe, model: ModelSize, devices: Devices) -> list[Plan]:
    """List the plans that were considered; the last is the choice, the first that fits or else the smallest.

    A step holds as many rows as the recipe says, whatever is chosen. A strategy that is named is only estimated.
    """
    named = recipe.parallelism
    if named.strategy != "auto":
        return [_make_plan(recipe, model, devices, named, recipe.batch_size)]
    considered: list[Plan] = []
    for parallelism, batch_size in _list_choices(recipe, devices):
        considered.append(_make_plan(recipe, model, devices, parallelism, batch_size))
        if considered[-1].fits:
            return considered
    smallest = min(considered, key=lambda plan: plan.estimate.total)
    return [*considered, smallest]


def _list_choices(recipe: Recipe, devices: Devices) -> Iterator[tuple[Parallelism, int]]:
    """Whole micro-batches first: a smaller one is slower, but dividing the weights among devices is slower still."""
    rows = recipe.batch_size * recipe.gradient_accumulation_steps
    least = 2 if recipe.method == "kto" else 1  # it compares the answers of a batch
    spread = _count_processes(recipe, devices, rows, least)
    rungs: tuple[tuple[Strategy, Offload], ...] = LADDER if spread > 1 else (("single", "none"),)
    for strategy, offload in rungs:
        parallelism = Parallelism(strategy=strategy, processes=spread, offload=offload)
        for batch_size in range(min(recipe.batch_size, rows // spread), least - 1, -1):
            if rows % (spread * batch_size) == 0:
                yield parallelism, batch_size


def _count_processes(recipe: Recipe, devices: Devices, rows: int, least: int) -> int:
    """Count the most devices that divide a step's rows evenly; processes on one CPU would only share its cores."""
    if devices.kind == "cpu" or recipe.method not in DISTRIBUTED_METHODS:
        return 1
    return max(count for count in range(1, devices.count + 1) if rows % (count * least) == 0 or count == 1)


def _make_plan(recipe: Recipe, model: ModelSize, devices: Devices, parallelism: Parallelism, batch_size: int) -> Plan:
    rows = recipe.batch_size * recipe.gradient_accumulation_steps
    is_auto = recipe.parallelism.strategy == "auto"
    steps = rows // (parallelism.processes * batch_size) if is_auto else recipe.gradient_accumulation_steps
    work = Workload(
        rows=batch_size * ROWS.get(recipe.method, 1),
        length=recipe.length,
        precision=choose_precision(recipe, devices),
        trainable=count_trainable(recipe, model),
        logit_copies=LOGIT_COPIES.get(recipe.method, 8),
        activation_checkpointing=recipe.activation_checkpointing,
        has_reference=recipe.method in REFERENCE_METHODS,
    )
    estimate = estimate_memory(model, work, parallelism.strategy, parallelism.processes, parallelism.offload)
    usable = devices.count_usable(parallelism.here or 1)
    return Plan(parallelism, batch_size, steps, estimate, estimate.total <= usable)


def choose_precision(recipe: Recipe, devices: Devices) -> Precision:
    """Choose what `auto` means on these devices: bf16 where they have units for it, else fp32, in which `ppo` works."""
    if recipe.precision != "auto":
        return recipe.precision
    return "bf16" if devices.computes_in_bf16 and recipe.method in PRECISION_METHODS else "fp32"


def count_trainable(recipe: Recipe, model: ModelSize) -> int:
    """Count the weights that the recipe trains."""
    if recipe.tuning == "full":
        return model.parameters
    return count_lora(model, r=recipe.lora.r, last_layers=recipe.lora.last_layers)


def apply_plan(recipe: Recipe, plan: Plan) -> Recipe:
    """Put what was planned into the recipe in place of `auto`."""
    return msgspec.structs.replace(
        recipe,
        parallelism=plan.parallelism,
        batch_size=plan.batch_size,
        gradient_accumulation_steps=plan.gradient_accumulation_steps,
    )


def describe_plan(plan: Plan, devices: Devices) -> list[str]:
    """Describe the plan: a line of figures, and what they mean."""
    where, figures = plan.parallelism, plan.estimate
    usable = devices.count_usable(where.here or 1)
    offload = "" if where.offload == "none" else f", {where.offload} offloaded ({_in_gib(figures.host)} in the host)"
    parts = {
        "weights": figures.weights,
        "gradients": figures.gradients,
        "optimizer": figures.optimizer,
        "activations": figures.activations,
        "logits": figures.logits,
    }
    return [
        f"{where.strategy}, {where.processes} x {plan.batch_size} rows, "
        f"{plan.gradient_accumulation_steps} to a step{offload}",
        "  " + " + ".join(f"{name} {_in_gib(size)}" for name, size in parts.items()),
        f"  = {_in_gib(figures.total)} of {_in_gib(usable)} usable on each "
        f"{devices.kind}: {'fits' if plan.fits else 'does not fit'}",
    ]


def _in_gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"


def shrink_often(recipe: Recipe, times: int) -> Recipe | None:
    """Return the recipe after so many calls of `shrink_micro_batch`; None: it cannot be that small."""
    shrunk: Recipe | None = recipe
    for _ in range(times):
        shrunk = shrunk and shrink_micro_batch(shrunk)
    return shrunk


def shrink_micro_batch(recipe: Recipe) -> Recipe | None:
    """Return the recipe with the next smaller micro-batch that divides the old one, and the same batch a step.

    None: it cannot be smaller. `kto` compares the rows of a micro-batch, so it keeps two.
    """
    smallest = 2 if recipe.method == "kto" else 1
    smaller = [size for size in range(smallest, recipe.batch_size) if recipe.batch_size % size == 0]
    if not smaller:
        return None
    size = max(smaller)
    accumulation = recipe.gradient_accumulation_steps * (recipe.batch_size // size)
    return msgspec.structs.replace(recipe, batch_size=size, gradient_accumulation_steps=accumulation)
