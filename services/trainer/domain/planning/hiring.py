"""Which machines a run on a large model needs, how many, for how long, and what that costs."""

from dataclasses import dataclass
from typing import Literal

from services.trainer.domain.planning.cluster import (
    Layout,
    Machine,
    Needs,
    Work,
    calculate_generation_seconds,
    calculate_token_seconds,
    estimate_needs,
)
from services.trainer.domain.planning.models import Shape
from services.trainer.domain.recipe.sections import DISTRIBUTED_METHODS

Tuning = Literal["full", "lora"]
PaperMethod = Literal["dpo", "ppo"]
LORA_RANK = 16
RESERVE = 0.15
"""Share of each GPU's memory left to libraries, fragmentation and what is not estimated."""
MOST_MACHINES = 256
ROWS = (8, 4, 2, 1)
HOUR = 3600.0
PPO_EPOCHS = 4
"""How often each answer is trained on, as TRL has it."""
GENERATED_TOGETHER = 64
"""Answers at a time on each machine."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be trained on what."""

    method: PaperMethod
    tuning: Tuning
    rows: int
    """Pairs for `dpo`, prompts for `ppo`."""
    length: int = 1024
    """Tokens of a prompt with one answer."""
    answer: int = 256
    """Of those, the answer's, where it is generated."""
    passes: float = 2.0
    batch: int = 64
    """Rows of an optimizer step."""
    offload: Literal["none", "optimizer", "all"] = "none"


@dataclass(frozen=True, kw_only=True)
class Hire:
    """Machines that hold the task, and what they are needed for."""

    method: PaperMethod
    machine: Machine
    count: int
    rows: int
    """Rows at a time on each GPU."""
    step_rows: int
    """Rows of an optimizer step: more than were asked for, where there are more GPUs than those."""
    needs: Needs
    loading_bytes: float
    """Of a machine's host, while every process loads the whole model."""
    hours: float
    generation_hours: float
    scoring_hours: float
    fits: bool

    @property
    def cost(self) -> float:
        """What the machines cost, in the money of their price."""
        return self.hours * self.count * self.machine.hourly

    @property
    def loads(self) -> bool:
        """Whether the model can be loaded as the trainer does it now."""
        return self.loading_bytes <= self.machine.host_bytes

    @property
    def is_spread(self) -> bool:
        """Whether it wants several processes, one for each GPU."""
        return self.count * self.machine.gpus > 1

    @property
    def obstacle(self) -> str | None:
        """What keeps this trainer from running it today on such machines; None: nothing."""
        if self.is_spread and self.method not in DISTRIBUTED_METHODS:
            return f"on paper alone: {self.method} trains in one process here, on one GPU"
        if not self.loads:
            wanted, there = self.loading_bytes / 1e9, self.machine.host_bytes / 1e9
            return f"does not load: each process reads the whole model, {wanted:,.0f} of a host's {there:,.0f} GB"
        return None


def hire(shape: Shape, task: Task, machine: Machine) -> Hire:
    """Find the fewest machines whose GPUs hold the task; what most of them would need, where none do."""
    count = 1
    while True:
        for rows in ROWS:
            found = _plan(shape, task, machine, count, rows)
            if found.fits:
                return found
        if count >= MOST_MACHINES:
            return found
        count *= 2


def _plan(shape: Shape, task: Task, machine: Machine, count: int, rows: int) -> Hire:
    gpus = count * machine.gpus
    a_row = 2 if task.method == "dpo" else 1
    layout = Layout(
        gpus=gpus,
        rows=rows * a_row,
        accumulation=max(round(task.batch / (gpus * rows)), 1),
        recomputation="full",
        offload=task.offload,
    )
    work = make_work(shape, task)
    needs = estimate_needs(shape, layout, work, machine)
    steps = max(task.rows * task.passes / (layout.accumulation * rows * gpus), 1.0)
    if task.method == "ppo":
        steps *= PPO_EPOCHS * 2  # the value model is trained beside the policy
    generation, scoring = _time_rollouts(shape, task, layout, machine) if task.method == "ppo" else (0.0, 0.0)
    return Hire(
        method=task.method,
        machine=machine,
        count=count,
        rows=rows,
        step_rows=layout.accumulation * rows * gpus,
        needs=needs,
        loading_bytes=machine.gpus * shape.weights * (4 if task.tuning == "full" else 2),
        hours=steps * needs.step_seconds / HOUR + generation + scoring,
        generation_hours=generation,
        scoring_hours=scoring,
        fits=needs.gpu_bytes <= machine.gpu_bytes * (1 - RESERVE),
    )


def make_work(shape: Shape, task: Task) -> Work:
    """Make what is computed: DPO's reference goes once over the rows before training; PPO holds a value model that is
    trained as the policy is, a reward model, and where all weights are trained a reference.
    """
    trainable = None if task.tuning == "full" else float(shape.count_lora(LORA_RANK))
    if task.method == "dpo":
        return Work(length=task.length, trainable=trainable, forward_only=1 / task.passes)
    # the value model: its states again for all weights, its frozen base again for an adapter
    copies = 2.0 + 8.0 if task.tuning == "full" else 2.0
    return Work(length=task.length, trainable=trainable, frozen_copies=copies)


def _time_rollouts(shape: Shape, task: Task, layout: Layout, machine: Machine) -> tuple[float, float]:
    """Time (generating, scoring) in hours: each machine answers a batch; reference, reward and value read it once."""
    machines = layout.gpus / machine.gpus
    answers = task.rows * task.passes
    batches = answers / (GENERATED_TOGETHER * machines)
    generation = batches * calculate_generation_seconds(
        shape, machine, gpus=machine.gpus, rows=GENERATED_TOGETHER, tokens=task.answer
    )
    forward = calculate_token_seconds(shape, Layout(gpus=layout.gpus), Work(length=task.length), machine) / 3
    scoring = 3 * answers * task.length * forward / layout.gpus
    return generation / HOUR, scoring / HOUR


def describe(found: Hire, task: Task) -> list[str]:
    """Describe what was found, in lines."""
    needs, machine = found.needs, found.machine
    parts = {
        "weights": needs.weights,
        "gradients": needs.gradients,
        "optimizer": needs.optimizer,
        "put together": needs.whole,
        "activations": needs.activations,
        "logits": needs.logits,
    }
    figures = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items())
    lines = [
        f"{found.count} x {machine.name} ({machine.gpus} GPUs each), {found.rows} rows at a time on each GPU",
        f"GB on each GPU: {figures}; {needs.gpu_bytes / 1e9:.0f} of {machine.gpu_bytes / 1e9:.0f}"
        f"{'' if found.fits else ', which does not fit'}",
        f"a step of {found.step_rows} rows: {needs.step_seconds:.1f} s; sending alone takes "
        f"{needs.communication_seconds:.1f} s of it",
        f"checkpoint: {needs.checkpoint_bytes / 1e9:,.1f} GB in {needs.checkpoint_seconds:.0f} s",
        f"{found.hours:.1f} h, {found.hours * found.count:,.0f} machine hours, {found.cost:,.0f} at "
        f"{machine.hourly:g} an hour",
    ]
    if task.method == "ppo":
        lines.append(f"of these hours {found.generation_hours:.1f} generate, {found.scoring_hours:.1f} score")
    if needs.host:
        lines.append(f"offloaded to each host: {needs.host / 1e9:,.0f} of {machine.host_bytes / 1e9:,.0f} GB")
    return [*lines, found.obstacle] if found.obstacle else lines
