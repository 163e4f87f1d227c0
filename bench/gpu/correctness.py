"""`python -m bench.gpu.correctness OUT SECONDS`: does training on this GPU do what it does on a CPU in fp32?

A line of JSON in OUT for each check, with what was measured and its bound.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.gpu.checks import (
    LENGTHS,
    PAIRS,
    SHAPE,
    SPREAD,
    STEPS,
    STEPS_OF_EACH_METHOD,
    Bench,
    Check,
    measure_distance,
    measure_error,
    run,
)
from bench.gpu.contestants import clear_memory
from bench.gpu.memory import check_drift, check_ladder, check_memory, check_scaling
from bench.gpu.model import write_dataset, write_model
from bench.gpu.scores import check_kernel, check_scores, make_row_batch
from bench.gpu.stopwatch import Stopwatch
from services.trainer.domain.training import Interrupted


def main(out: Path, seconds: float, half: str = "bf16", only: str = "") -> None:
    """Run the cases whose names `only` holds, comma between; without it all."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), half)
        write_model(bench.parent, SHAPE, dtype="float32", spread=SPREAD)
        write_model(bench.half_parent, SHAPE, dtype="bfloat16", spread=SPREAD)
        write_model(bench.folder / "judge", SHAPE, scores=True, dtype="float32", spread=SPREAD)
        write_dataset(bench.folder / "dataset", rows=PAIRS, lengths=LENGTHS)
        reference = start_reference(bench.folder)
        try:
            for case in CASES:
                if not only or case.__name__.removeprefix("check_") in only.split(","):
                    carry_out(case, bench, out, began, seconds)
            reference.wait(max(1.0, seconds - (time.monotonic() - began)))
            carry_out(check_curves, bench, out, began, seconds)
        finally:
            reference.kill()


def carry_out(case: Callable[[Bench], Iterator[Check]], bench: Bench, out: Path, began: float, seconds: float) -> None:
    start, name = time.monotonic(), case.__name__.removeprefix("check_")
    if start - began > seconds:
        note(out, {"case": name, "left_out": "cut for time"})
        return
    try:
        for check in case(bench):
            note(out, {"case": name, **asdict(check), "passed": check.passed})
    except Exception as error:  # the other checks shall still be made
        traceback.print_exc()
        note(out, {"case": name, "passed": False, "error": f"{type(error).__name__}: {error}"[:600]})
    clear_memory()
    note(out, {"case": name, "seconds": round(time.monotonic() - start, 1)})


def note(out: Path, entry: dict[str, Any]) -> None:
    with out.open("a") as file:
        print(json.dumps(entry), file=file)
    print(json.dumps(entry), flush=True)


CURVES: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "dpo": {"method": "dpo"},
    "adapter": {"method": "dpo", "tuning": "lora", "on_half": True},
}
"""The last one's base lies in bf16: a GPU keeps it so beside the adapter, the CPU makes it fp32."""


def start_reference(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the same runs on the CPU in fp32, in a process that sees no GPU, while the GPU has other things to do."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.gpu.correctness", "--reference", str(folder)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "4")},
    )


def train_reference(folder: Path) -> None:
    bench = Bench(folder, "fp32")
    for name, settings in CURVES.items():
        shared: dict[str, Any] = {"prefix_sharing": False} if settings["method"] == "dpo" else {}
        watch = bench.train(f"cpu-{name}", **settings, **shared)
        (folder / f"curve-{name}.json").write_text(json.dumps(list_curve(watch)))


def list_curve(watch: Stopwatch) -> dict[str, list[float]]:
    return {name: watch.list_figures(name) for name in ("loss", "grad_norm", "logps/chosen", "logps/rejected")}


def check_curves(bench: Bench) -> Iterator[Check]:
    """Compare loss and gradient norm of the first steps of whole runs against the CPU's."""
    ways: list[tuple[str, str, dict[str, Any], float]] = [
        ("sft", "padded fp32", {}, 1e-3),
        ("sft", f"packed {bench.half}", {"precision": bench.half}, 0.02),
        ("dpo", "padded fp32", {"prefix_sharing": False}, 1e-3),
        ("dpo", "shared by mask fp32", {}, 1e-3),
        ("dpo", f"padded {bench.half}", {"prefix_sharing": False, "precision": bench.half}, 0.02),
        ("dpo", f"shared {bench.half}", {"precision": bench.half}, 0.02),
        ("dpo", f"shared {bench.half} compiled", {"precision": bench.half, "compile": True}, 0.02),
        ("sft", f"packed {bench.half} compiled", {"precision": bench.half, "compile": True}, 0.02),
        ("adapter", f"on a base in {bench.half}", {"precision": bench.half}, 0.02),
    ]
    for method, words, settings, bound in ways:
        wanted = json.loads((bench.folder / f"curve-{method}.json").read_text())
        found = list_curve(bench.train(f"curve {method} {words}", **CURVES[method] | settings))
        for name in ("loss", "grad_norm", "logps/chosen"):
            if not wanted[name]:
                continue
            error = max(abs(mine - theirs) for mine, theirs in zip(found[name], wanted[name], strict=True))
            scale = max(abs(value) for value in wanted[name])
            times = 5 if name == "grad_norm" else 1
            yield Check(f"{method} {words}, {STEPS} steps, {name}: relative error", error / scale, times * bound)


def check_methods(bench: Bench) -> Iterator[Check]:
    """Take a step of every method: the weights move, and by numbers."""
    from services.trainer.bootstrap.methods import MODULES

    for method in MODULES:
        try:
            precision = "fp32" if method == "ppo" else bench.half  # TRL's PPO knows no other
            bench.train(f"method-{method}", method, steps=STEPS_OF_EACH_METHOD, precision=precision)
            moved = measure_distance(bench.folder / f"method-{method}" / "candidate", bench.parent)
            yield Check(f"{method}: distance of the weights from the parent's, relative", moved, 1e-4, "at_least")
        except Exception as error:  # one method's failure is not another's
            traceback.print_exc()
            yield Check(f"{method}: {type(error).__name__}: {error}"[:300], math.nan, 0.0)


def check_resume(bench: Bench) -> Iterator[Check]:
    """Check that a run stopped after three of six steps and taken up again ends where an undisturbed one does."""
    settings: dict[str, Any] = {"save_steps": 3, "precision": bench.half}
    undisturbed, again = (bench.make_job(name, "dpo", **settings) for name in ("undisturbed", "undisturbed again"))
    for job in (undisturbed, again):
        run(job, Stopwatch())
    stopped = bench.make_job("stopped", "dpo", **settings)
    try:
        run(stopped, Stopwatch(stop_at=3))
    except Interrupted:
        pass
    else:
        raise RuntimeError("the run did not stop")
    watch = Stopwatch()
    later = replace(stopped, resume_from=stopped.checkpoints / "checkpoint-3", checkpoints=bench.folder / "stopped/2")
    run(later, watch)
    yield Check("steps of the run that went on", len(watch.steps), 3)
    moved = measure_distance(undisturbed.candidate, bench.parent)
    resumed, repeated, started_over = (
        measure_distance(candidate, undisturbed.candidate) / moved
        for candidate in (stopped.candidate, again.candidate, _train_rest(bench, settings))
    )
    print(f"a repetition differs by {repeated:.3g} of the way, three steps alone by {started_over:.3g}")
    yield Check("resumed beside undisturbed: distance, share of the way", resumed, max(2 * repeated, 1e-3))
    yield Check("three steps alone beside undisturbed: distance, share of the way, seen", started_over, 0.1, "at_least")


def _train_rest(bench: Bench, settings: dict[str, Any]) -> Path:
    """What comes of a run that loses its first three steps. So the check can fail."""
    job = bench.make_job("the rest", "dpo", steps=3, **settings)
    run(job, Stopwatch())
    return job.candidate


def check_merging(bench: Bench) -> Iterator[Check]:
    """Check that the candidate of a LoRA run answers as transformers with peft does with the adapter of its last
    checkpoint.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    job = bench.make_job("adapter", "dpo", tuning="lora", learning_rate=1e-2, save_steps=STEPS)
    run(job, Stopwatch())
    ids = make_row_batch(bench)["input_ids"][:4]
    base = AutoModelForCausalLM.from_pretrained(bench.parent, dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(job.candidate, dtype=torch.float32)
    with torch.no_grad():
        plain, found = base(ids).logits, merged(ids).logits
        adapted = PeftModel.from_pretrained(base, job.checkpoints / f"checkpoint-{STEPS}")(ids).logits
    yield Check("merged weights beside peft's adapter: relative error of logits", measure_error(found, adapted), 1e-4)
    yield Check("the adapter's own change of the logits", measure_error(plain, adapted), 1e-2, "at_least")


def check_streaming(bench: Bench) -> Iterator[Check]:
    """Check the reference pass of a model that FSDP2 divides later: on the host, a layer of it on the GPU at a time."""
    import torch

    from services.trainer.adapters.distributed.streaming import stream_layers
    from services.trainer.adapters.methods.models import load_policy

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, ids = load_policy(bench.parent).eval(), make_row_batch(bench)["input_ids"][:4]
    shares: list[float] = []

    def count_placed(*_: Any) -> None:
        placed = sum(own.numel() for own in model.parameters() if own.device.type == device.type)
        shares.append(placed / model.num_parameters())

    watched = model.base_model.layers[-1].mlp.register_forward_pre_hook(count_placed)
    with torch.no_grad(), stream_layers(model, lambda own: own.to(device)):
        found = model(ids.to(device)).logits.cpu()
    watched.remove()
    with torch.no_grad():
        wanted = model(ids).logits
    yield Check("layer by layer beside the CPU: relative error of logits", measure_error(found, wanted), 1e-4)
    if device.type == "cuda":
        yield Check("share of the weights that was on the GPU at once", max(shares), 0.75)
        yield Check("weights on the GPU afterwards", sum(own.is_cuda for own in model.parameters()), 0)


CASES = (
    check_kernel,
    check_scores,
    check_resume,
    check_merging,
    check_streaming,
    check_scaling,
    check_ladder,
    check_drift,
    check_memory,
    check_methods,
)
"""In the order of their priority; the curves come last, for the CPU takes its time."""

if __name__ == "__main__":
    if sys.argv[1] == "--reference":
        train_reference(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])
