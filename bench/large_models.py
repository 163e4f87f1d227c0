"""The planner's estimates for large models beside published runs: `make bench-large-models`. Seconds, no GPU.

A run counts as met within 15% of the memory and 30% of the time. Four constants of the planner were set by looking at
these rows: the share of the nominal speed on H100 (bf16, fp8) and on A100, and what an expert costs a token. So the
table says how far one set of constants goes over all of them, not how well it foretells a run that nobody has seen.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from local.results import Goal, Row, write_result
from services.trainer.domain.planning.cluster import Layout, Machine, Work, calculate_token_seconds, estimate_needs
from services.trainer.domain.planning.hiring import PaperMethod, Task, Tuning, hire
from services.trainer.domain.planning.machines import MACHINES
from services.trainer.domain.planning.models import SHAPES, Shape

GIB = 1 << 30
MEMORY, TIME = 0.15, 0.30
H100, A100 = MACHINES["p5.48xlarge"], MACHINES["p4de.24xlarge"]
TITAN = replace(H100, name="H100, 500 W", gpu_bytes=96e9)
DOCS = Path(__file__).parents[1] / "docs" / "large-models.md"
TUNINGS: tuple[Tuning, ...] = ("lora", "full")
METHODS: tuple[PaperMethod, ...] = ("dpo", "ppo")
Case = tuple[str, PaperMethod, Tuning, str]
HIRED: tuple[Case, ...] = tuple(
    (model, method, tuning, machine)
    for model in ("llama-8b", "llama-70b", "llama-405b")
    for method in METHODS
    for tuning in TUNINGS
    for machine in ("p5.48xlarge", "p5e.48xlarge")
)
ONE_GPU: tuple[Case, ...] = (("llama-8b", "ppo", "lora", "p5.4xlarge"),)
"""What needs no second process."""
HIRED_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class Published:
    """A run that somebody published."""

    name: str
    source: str
    shape: Shape
    machine: Machine
    layout: Layout
    work: Work
    tokens_per_second: float | None = None
    """Of a GPU."""
    memory_gib: float | None = None
    """Of the fullest GPU."""
    states_gib: float | None = None
    """Of weights, gradients, optimizer and what is put together."""
    reason: str = ""
    """Why the estimate is off, where it is."""


def megatron(
    model: str, gpus: int, tokens: float, *, rows: int, batch: int, length: int, precision: str = "fp8", **split: int
) -> Published:
    """Make a row of Megatron-Bridge's performance pages, system DGX-H100."""
    layout: Layout = replace(Layout(gpus=gpus, rows=rows, divides="optimizer"), **split)  # type: ignore[arg-type]
    layout = replace(layout, accumulation=max(batch // (layout.copies * rows), 1))
    where = ", ".join(f"{name} {size}" for name, size in split.items())
    return Published(
        name=f"{model}, {gpus} H100, {precision}, {where or 'one copy a GPU'}, {batch} rows",
        source="Megatron-Bridge",
        shape=SHAPES[model],
        machine=H100,
        layout=layout,
        work=Work(length=length, precision=precision),  # type: ignore[arg-type]
        tokens_per_second=tokens,
    )


def titan(model: str, gpus: int, tokens: float, gib: float, layout: Layout, *, fp8: bool, note: str) -> Published:
    """Make a row of torchtitan's benchmark of December 2024."""
    return Published(
        name=f"{model}, {gpus} H100, {note}",
        source="torchtitan",
        shape=SHAPES[model],
        machine=TITAN,
        layout=layout,
        work=Work(length=8192, precision="fp8" if fp8 else "bf16"),
        tokens_per_second=tokens,
        memory_gib=gib,
    )


def deepspeed(name: str, weights: float, largest: float, gpus: int, gib: float) -> Published:
    """Make a row of DeepSpeed's own estimate of ZeRO-3's states, without offloading."""
    shape = Shape(
        layers=1, hidden=1, intermediate=int(largest / 3), query=0, key_value=0, vocabulary=0, tied=True
    )  # its layer's size is all that counts
    scaled = replace(shape, layers=int(weights / largest))
    return Published(
        name=f"{name}, {gpus} GPUs, ZeRO-3, states alone",
        source="DeepSpeed",
        shape=scaled,
        machine=A100,
        layout=Layout(gpus=gpus),
        work=Work(length=1),
        states_gib=gib,
    )


def list_published() -> list[Published]:
    """List the runs that the planner is held against."""
    return [
        titan("llama-8b", 8, 5762, 82.4, Layout(gpus=8, rows=2, recomputation="selective"), fp8=False, note="FSDP2"),
        titan(
            "llama-8b", 128, 5605, 67.0, Layout(gpus=128, rows=2, recomputation="selective"), fp8=False, note="FSDP2"
        ),
        titan(
            "llama-70b", 256, 829, 71.9, Layout(gpus=256, tensor=8, rows=16, recomputation="full"),
            fp8=True, note="fp8, FSDP2 32, tensor 8",
        ),
        titan(
            "llama-405b", 512, 100, 82.5,
            Layout(gpus=512, tensor=8, pipeline=8, rows=4, accumulation=8, recomputation="full"),
            fp8=True, note="fp8, FSDP2 8, tensor 8, pipeline 8",
        ),
        titan(
            "llama-405b", 512, 128, 72.7,
            Layout(gpus=512, tensor=8, pipeline=8, interleaved=2, rows=4, accumulation=8, recomputation="full"),
            fp8=True, note="fp8, the same, interleaved",
        ),
        replace(
            titan(
                "llama-70b", 64, 331, 0.0, Layout(gpus=64, rows=1, recomputation="full"), fp8=False, note="FSDP2"
            ),
            name="llama-70b, 64 A100, bf16, FSDP2", machine=A100, memory_gib=None,
        ),
        megatron("llama-8b", 8, 14_451, rows=1, batch=128, length=8192),
        megatron("llama-70b", 64, 1602, rows=1, batch=128, length=8192, tensor=4, pipeline=8, interleaved=5),
        megatron(
            "llama-405b", 1024, 292, rows=1, batch=512, length=8192, tensor=8, pipeline=8, context=2, interleaved=8
        ),
        megatron("qwen3-30b-a3b", 16, 5275, rows=2, batch=512, length=4096, pipeline=2, interleaved=24, expert=8),
        megatron("gpt-oss-120b", 64, 5993, rows=1, batch=1280, length=4096, precision="bf16", pipeline=4, expert=8),
        megatron(
            "qwen3-235b-a22b", 256, 1575, rows=1, batch=2048, length=4096, tensor=2, pipeline=8, interleaved=4,
            expert=32,
        ),
        megatron(
            "deepseek-v3", 1024, 1297, rows=1, batch=8192, length=4096, tensor=2, pipeline=8, interleaved=4, expert=64
        ),
        deepspeed("llama-70b", 69_503e6, 1050e6, 48, 28.19),
        deepspeed("falcon-40b", 41_303e6, 532e6, 12, 59.68),
        deepspeed("T0-3b", 2783e6, 65e6, 1, 46.91),
    ]  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    published: Published
    gib: float
    tokens_per_second: float
    memory_error: float | None
    time_error: float | None
    """Of the time for a token: positive where the planner says that it takes longer."""

    @property
    def is_met(self) -> bool:
        """Whether memory and time are within what is wanted."""
        return abs(self.memory_error or 0.0) <= MEMORY and abs(self.time_error or 0.0) <= TIME


def compare(run: Published) -> Comparison:
    """Estimate a published run, and say how far off that is."""
    needs = estimate_needs(run.shape, run.layout, run.work, run.machine)
    seconds = calculate_token_seconds(run.shape, run.layout, run.work, run.machine)
    per_gpu = 1 / (seconds * run.layout.tensor * run.layout.pipeline)
    states = needs.weights + needs.gradients + needs.optimizer + needs.whole
    gib = (states if run.states_gib else needs.gpu_bytes) / GIB
    measured = run.states_gib or run.memory_gib
    memory_error = gib / measured - 1 if measured else None
    time_error = run.tokens_per_second / per_gpu - 1 if run.tokens_per_second else None
    return Comparison(run, gib, per_gpu, memory_error, time_error)


def render(found: list[Comparison]) -> str:
    """Render the table of docs/large-models.md."""
    lines = [
        "| run | source | GiB a GPU | estimated | off | tokens/s a GPU | estimated | time off |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in found:
        run = one.published
        measured = run.states_gib or run.memory_gib
        memory = f"{measured:.1f} | {one.gib:.1f} | {one.memory_error:+.0%}" if measured else f" | {one.gib:.1f} | "
        time = " | | "
        if run.tokens_per_second and one.time_error is not None:
            time = f"{run.tokens_per_second:,.0f} | {one.tokens_per_second:,.0f} | {one.time_error:+.0%}"
        lines.append(f"| {run.name} | {run.source} | {memory} | {time} |")
    return "\n".join(lines) + "\n"


def render_hires() -> str:
    """Render the table of machines, hours and prices."""
    lines = [
        "| model | what | machines | GB a GPU | rows a step | its seconds | hours | dollars | checkpoint, GB | today |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for model, method, tuning, machine in (*ONE_GPU, *HIRED):
        found = hire(SHAPES[model], Task(method=method, tuning=tuning, rows=HIRED_ROWS), MACHINES[machine])
        needs = found.needs
        saved = f"{needs.checkpoint_bytes / 1e9:,.1f}"
        lines.append(
            f"| {model} | {method}, {tuning} | {found.count} x {machine} | {needs.gpu_bytes / 1e9:.0f} "
            f"| {found.step_rows} | {needs.step_seconds:.1f} | {found.hours:.1f} | {found.cost:,.0f} | {saved} "
            f"| {'no' if found.obstacle else 'yes'} |"
        )
    return "\n".join(lines) + "\n"


def fill(page: str, name: str, table: str) -> str:
    """Put a table between a page's markers of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, after = page.partition(begin)[0], page.partition(end)[2]
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def render_page(page: str) -> str:
    """Render docs/large-models.md with today's tables."""
    published = render([compare(run) for run in list_published()])
    return fill(fill(page, "published", published), "hired", render_hires())


def main() -> None:
    """Compare, write the result, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the figures in bench/results/, the table in docs/")
    given = parser.parse_args()
    found = [compare(run) for run in list_published()]
    print(render(found))
    if not given.keep:
        return
    DOCS.write_text(render_page(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
    memory = [abs(one.memory_error) for one in found if one.memory_error is not None]
    time = [abs(one.time_error) for one in found if one.time_error is not None]
    rows = [Row.of(one.published.name, "GiB", [one.gib]) for one in found]
    goals = [Goal("memory_off", max(memory), MEMORY, "at_most"), Goal("time_off", max(time), TIME, "at_most")]
    write_result("large-models", rows, goals, {"sources": sorted({one.published.source for one in found})})


if __name__ == "__main__":
    main()
