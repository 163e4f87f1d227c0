"""`python -m bench.gpu.speed SIZE OUT SECONDS`: one size of model in a process of its own, contestants in turn.

A line of JSON in OUT for each contestant as it ends, so that what was measured stays when time runs out.
"""

import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gpu.contestants import LIGER, OURS, SCRIPTS, UNCOMPILED, clear_memory, run_ours, run_script
from bench.gpu.flops import Network, Tokens, count_needed, count_six_n
from bench.gpu.model import SHAPES, Lengths, Pair, write_dataset, write_model
from bench.gpu.profiling import Profile
from bench.gpu.stopwatch import Stopwatch
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Job

WARM_UP = 3
"""Steps that are not counted: kernels are compiled and chosen, and memory is fetched in them."""
PROFILED = 2
"""Steps after the counted ones, of ours only, that are profiled."""
ROOM_BYTES = 60 << 30


@dataclass(frozen=True)
class Size:
    name: str
    rows: dict[str, int]
    """Pairs, or answers, of a step, by method."""
    steps: int
    """Counted ones."""
    lengths: Lengths
    tuning: str = "full"
    precision: str = "bf16"
    compiles: bool = True
    saves: bool = False
    """Whether our runs go to their end, so that saving is measured as well."""


CHATS = Lengths(prompt=(128, 640), answer=(64, 448))
SIZES = {
    "0.5b": Size("0.5b", {"sft": 64, "dpo": 48}, steps=6, lengths=CHATS, saves=True),
    "1.5b": Size("1.5b", {"sft": 32, "dpo": 24}, steps=6, lengths=CHATS),
    "8b": Size("8b", {"sft": 12, "dpo": 8}, steps=5, lengths=CHATS, tuning="lora"),
    "tiny": Size(
        "tiny", {"sft": 4, "dpo": 4}, 3, Lengths((6, 20), (4, 12)), precision="fp32", compiles=False, saves=True
    ),
}
"""In the order of their priority, but for the last, which is a dry run's."""


@dataclass(frozen=True)
class Case:
    method: str
    contestant: str


CASES = [
    Case("sft", OURS),
    Case("dpo", OURS),
    Case("sft", "plain TRL"),
    Case("dpo", "plain TRL"),
    Case("sft", UNCOMPILED),
    Case("dpo", UNCOMPILED),
    Case("dpo", "tuned TRL"),
    Case("sft", "tuned TRL"),
    Case("sft", "TRL with Liger"),
    Case("dpo", "TRL with Liger"),
]
"""In the order of their priority."""


class ProfilingStopwatch(Stopwatch):
    """Profiles the last steps."""

    profile: Profile | None = None
    counted: int = 0

    def after_step(self, step: int) -> None:
        import torch

        if step == self.counted and torch.cuda.is_available():
            self.profile = Profile()
            self.profile.begin()
        elif step == self.counted + PROFILED and self.profile is not None:
            self.profile.end()


def main(name: str, out: Path, seconds: float, only: str = "") -> None:
    began, size = time.monotonic(), SIZES[name]
    with tempfile.TemporaryDirectory(dir=find_room()) as scratch:
        folder = Path(scratch)
        write_model(folder / "parent", SHAPES[name])
        clear_memory()
        total = WARM_UP + size.steps + PROFILED
        pairs = {
            method: write_dataset(folder / method, rows=rows * total, lengths=size.lengths)
            for method, rows in size.rows.items()
        }
        note(out, {"size": name, "made_seconds": time.monotonic() - began})
        for case in CASES:
            if only and case.contestant not in only.split(","):
                continue
            if LIGER is SCRIPTS.get(case.contestant) and not has_liger():
                note(out, {"size": name, "case": vars(case), "left_out": "liger-kernel is not installed"})
                continue
            if time.monotonic() - began > seconds:
                note(out, {"size": name, "case": vars(case), "left_out": "cut for time"})
                continue
            note(out, {"size": name, "case": vars(case)} | measure(case, size, folder, pairs[case.method], total))
            shutil.rmtree(folder / "run", ignore_errors=True)
            clear_memory()


def find_room() -> Path | None:
    """Find memory rather than disk for models and checkpoints, where there is enough."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES else None


def has_liger() -> bool:
    from transformers.utils import is_liger_kernel_available

    return bool(is_liger_kernel_available())


def note(out: Path, entry: dict[str, Any]) -> None:
    with out.open("a") as file:
        print(json.dumps(entry), file=file)
    print(json.dumps(entry)[:1500], flush=True)


def measure(case: Case, size: Size, folder: Path, pairs: list[Pair], total: int) -> dict[str, Any]:
    began, counted = time.monotonic(), WARM_UP + size.steps
    is_ours = case.contestant == OURS
    job = make_job(case, size, folder, total if is_ours else counted)
    watch = ProfilingStopwatch(ends_at=None if is_ours and size.saves else job.recipe.max_steps)
    watch.counted = counted if is_ours else 0
    try:
        if case.contestant in (OURS, UNCOMPILED):
            run_ours(job, watch)
            rows = int(watch.metrics.get(0, {}).get("micro_batch", size.rows[case.method]))
        else:
            rows = run_script(case.contestant, job, watch)
        return sum_up(case, size, watch, pairs, began) | {"rows_at_a_time": rows}
    except Exception as error:  # the others shall still be measured
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"[:600], "notes": watch.notes}


def make_job(case: Case, size: Size, folder: Path, steps: int) -> Job:
    recipe: dict[str, Any] = {
        "name": "gpu-check",
        "method": case.method,
        "max_steps": steps,
        "batch_size": size.rows[case.method],
        "max_length": size.lengths.longest + size.lengths.longest % 2,
        "precision": size.precision,
        "tuning": size.tuning,
        "compile": size.compiles and case.contestant == OURS,
        "learning_rate": 1e-4 if size.tuning == "lora" else 1e-5,
        "save_steps": 1000,
    }
    if case.method == "sft":
        recipe["sft_rows"] = "chosen"
    run = folder / "run"
    run.mkdir()
    return Job(parse_recipe(recipe), folder / "parent", folder / case.method, run / "1", None, run / "candidate")


def sum_up(case: Case, size: Size, watch: ProfilingStopwatch, pairs: list[Pair], began: float) -> dict[str, Any]:
    steps = watch.steps[WARM_UP - 1 : WARM_UP + size.steps]
    seconds = [later - earlier for earlier, later in itertools.pairwise(steps)]
    network = SHAPES[size.name].describe(16 if size.tuning == "lora" else 0)
    a_step = statistics.fmean(seconds)
    work = count_step(case, size.rows[case.method], pairs)
    reference = measure_reference(watch)
    return {
        "seconds_a_step": seconds,
        "reference_seconds_a_step": reference,
        "tokens_a_second": work["said"] / (a_step + reference),
        "needed_flop_a_step": count_flop(case, network, work["tokens"], needed=True),
        "six_n_flop_a_step": count_flop(case, network, work["tokens"], needed=False),
        "peak_bytes": watch.peaks,
        "phase_seconds": watch.seconds,
        "first_step_after_seconds": watch.steps[0] - began,
        "tokens_logged": measure_logged(watch),
        "tokens_counted": work["said"],
        "losses": watch.list_figures("loss"),
        "gradient_norms": watch.list_figures("grad_norm"),
        "notes": watch.notes,
        "profile": watch.profile.sum_up() if watch.profile else None,
        "whole_seconds": time.monotonic() - began,
    }


def measure_reference(watch: Stopwatch) -> float:
    """Return seconds of the reference's median batch, which is as large as a step's; 0 where it is computed in the
    steps.
    """
    batches = [later - earlier for earlier, later in itertools.pairwise(watch.references)]
    return statistics.median(batches) if batches else 0.0


def measure_logged(watch: Stopwatch) -> float:
    """Return tokens of a mean step as the trainer itself logs them: near those counted, or the data was not what was
    meant.
    """
    logged = watch.list_figures("num_tokens")
    return (logged[-1] - logged[0]) / (len(logged) - 1) if len(logged) > 1 else 0.0


def count_step(case: Case, rows: int, pairs: list[Pair]) -> dict[str, Any]:
    """Count what a mean step does. `said`: tokens of the conversations that it learned from, the same for all
    contestants; a prompt with two answers is two conversations.
    """
    share = rows / len(pairs)
    alone = sum((pair.count_alone() for pair in pairs), Tokens(0, 0, 0)) * share
    if case.method == "sft":
        return {"tokens": alone, "said": alone.read}
    shared = sum((pair.count_shared() for pair in pairs), Tokens(0, 0, 0)) * share
    prompts = sum(pair.prompt for pair in pairs) * share
    return {"tokens": shared, "said": shared.read + prompts}


def count_flop(case: Case, network: Network, tokens: Tokens, *, needed: bool) -> int:
    """Count what a step's result asks for, not what a contestant spent on it: the same for all. The reference is left
    out.
    """
    return count_needed(network, tokens) if needed else count_six_n(network, tokens)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
