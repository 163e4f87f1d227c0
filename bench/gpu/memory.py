"""Checks of what depends on a GPU's memory, and of fp16: runs too large for it, ladders, KL on a full GPU."""

from collections.abc import Iterator
from dataclasses import replace

from bench.gpu.checks import (
    FULL_BYTES,
    LENGTHS,
    NARROW_BYTES,
    ROWS,
    SCALED_STEPS,
    WIDE_ROWS,
    Bench,
    Check,
    run,
)
from bench.gpu.contestants import clear_memory
from bench.gpu.model import write_dataset
from bench.gpu.stopwatch import Stopwatch
from services.trainer.domain.recipe.parsing import parse_recipe


def check_memory(bench: Bench) -> Iterator[Check]:
    """Check that a run that does not fit goes on with fewer rows at a time."""
    import torch

    if not torch.cuda.is_available():
        return
    clear_memory()
    wide = Bench(bench.folder / "wide", bench.half)
    write_dataset(wide.folder / "dataset", rows=WIDE_ROWS, lengths=LENGTHS)
    job = replace(wide.make_job("narrow", "sft", steps=2, batch_size=WIDE_ROWS), parent=bench.parent)
    torch.cuda.set_per_process_memory_fraction(NARROW_BYTES / torch.cuda.get_device_properties(0).total_memory)
    watch = Stopwatch()
    try:
        trained = run(job, watch)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    print(trained.summary, watch.notes)
    yield Check("times that memory ran out, and the run went on", float(len(watch.notes)), 1, "at_least")
    yield Check("steps that the run took all the same", float(trained.steps), 2, "at_least")


def check_scaling(bench: Bench) -> Iterator[Check]:
    """Check that fp16 gets through the steps that it skips while it looks for a scale."""
    import torch

    if not torch.cuda.is_available():
        return
    watch = bench.train("scaled", "sft", steps=SCALED_STEPS, precision="fp16", learning_rate=1e-4)
    losses, skipped = watch.list_figures("loss"), watch.list_figures("skipped_step")
    print(f"fp16 skipped {len(skipped)} steps")
    yield Check("fp16: steps that were taken", float(len(watch.steps)), SCALED_STEPS, "at_least")
    yield Check("fp16: loss of the last step beside the first", losses[-1] / losses[0], 0.99)
    yield Check("fp16: steps back to a checkpoint", float(len(watch.list_figures("guards/roll_back"))), 0)


class PhaseWatch(Stopwatch):
    """Notes how much of the GPU is taken when a phase begins."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, int] = {}

    def on_phase(self, phase: str) -> None:
        import torch

        self.taken[phase] = torch.cuda.memory_reserved() if torch.cuda.is_available() else 0
        super().on_phase(phase)


def check_ladder(bench: Bench) -> Iterator[Check]:
    """Check that a ladder's second stage, which leaves its length to the memory, finds the first one's model gone."""
    clear_memory()
    stage = {"max_steps": 2, "batch_size": ROWS, "tuning": "full", "precision": "fp32"}
    stages = [
        stage | {"name": "imitate", "method": "sft", "sft_rows": "chosen"},
        stage | {"name": "prefer", "method": "dpo"},
    ]
    plain, watch = bench.make_job("ladder", "dpo"), PhaseWatch()
    recipe = parse_recipe({"name": "two", "method": "ladder", "stages": stages})
    run(replace(plain, recipe=recipe), watch)
    first, second = (watch.taken[f"{name}: sizing"] for name in ("imitate", "prefer"))
    yield Check("bytes of the GPU taken as the second stage is sized, above the first's", second - first, 2 << 20)
    if watch.taken["prefer: training"]:
        yield Check(
            "bytes that were taken while it trained, seen", watch.taken["prefer: training"], 8 << 20, "at_least"
        )


def check_drift(bench: Bench) -> Iterator[Check]:
    """Check that the KL to the parent is measured on a GPU that has no room for it, as one with room measures it."""
    import torch

    from services.trainer.adapters.methods.kl_divergence import measure_kl

    job = bench.make_job("moved", "sft", learning_rate=1e-2)
    run(job, Stopwatch())

    def measure(*devices: str) -> float:
        rows = job.dataset / "validation.parquet"
        points = {"parent": bench.parent}
        return measure_kl(job.candidate, points, rows, examples=4, max_length=160, devices=devices or None)["parent"]  # type: ignore[arg-type]

    wanted = measure("cpu")
    yield Check("KL to the parent, nats a token, seen", wanted, 1e-3, "at_least")
    yield Check("KL on this device beside the CPU's, relative", abs(measure() / wanted - 1), 1e-2)
    if not torch.cuda.is_available():
        return
    clear_memory()
    torch.cuda.set_per_process_memory_fraction(FULL_BYTES / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = measure()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    yield Check("KL where the GPU is full beside the CPU's, relative", abs(found / wanted - 1), 1e-6)
