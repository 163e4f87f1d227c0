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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.gpu.contestants import clear_memory
from bench.gpu.model import Lengths, Shape, write_dataset, write_model
from bench.gpu.stopwatch import Stopwatch
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Interrupted, Job, TrainingResult

SHAPE = Shape(hidden=128, intermediate=256, layers=3, heads=4, key_value_heads=2, vocabulary=512)
SPREAD = 0.15
"""Of the weights: large enough that what a token sees decides what it predicts."""
LENGTHS = Lengths(prompt=(20, 90), answer=(10, 60))
PAIRS, STEPS, ROWS = 48, 6, 8
STEPS_OF_EACH_METHOD = 2
WIDE_ROWS, NARROW_BYTES = 512, 400 << 20
"""More rows than find room in so much of the GPU."""


@dataclass(frozen=True)
class Check:
    name: str
    measured: float
    bound: float
    sense: str = "at_most"

    @property
    def passed(self) -> bool:
        if not math.isfinite(self.measured):
            return False
        return self.measured <= self.bound if self.sense == "at_most" else self.measured >= self.bound


@dataclass(frozen=True)
class Bench:
    """Where the checks find what they need."""

    folder: Path
    half: str
    """The precision that stands beside fp32: bf16, but fp32 in a dry run."""

    @property
    def parent(self) -> Path:
        return self.folder / "parent"

    def make_job(self, name: str, method: str, steps: int = STEPS, **settings: Any) -> Job:
        recipe: dict[str, Any] = {
            "name": name,
            "method": method,
            "max_steps": steps,
            "batch_size": ROWS,
            "max_length": 160,
            "learning_rate": 1e-3,
            "save_steps": 1000,
            "tuning": "full",
        }
        if method == "sft":
            recipe["sft_rows"] = "chosen"
        if method in ("rloo", "ppo"):
            recipe |= {"reward_model": str(self.folder / "judge"), "sampling": {"max_new_tokens": 8}, "max_length": 120}
        recipe |= settings
        run = self.folder / name
        run.mkdir(parents=True, exist_ok=True)
        return Job(parse_recipe(recipe), self.parent, self.folder / "dataset", run / "1", None, run / "candidate")

    def train(self, name: str, method: str, **settings: Any) -> Stopwatch:
        watch = Stopwatch()
        run(self.make_job(name, method, **settings), watch)
        return watch


def run(job: Job, watch: Stopwatch) -> TrainingResult:
    from services.trainer.bootstrap.methods import METHODS

    return METHODS[job.recipe.method](0, job, watch)


def main(out: Path, seconds: float, half: str = "bf16", only: str = "") -> None:
    """`only`: names of cases, comma between; none: all."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), half)
        write_model(bench.parent, SHAPE, dtype="float32", spread=SPREAD)
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


# --- what the GPU computes, beside a CPU in fp32


def check_kernel(bench: Bench) -> Iterator[Check]:
    """Attention over packed rows against plain arithmetic."""
    import torch

    if not torch.cuda.is_available():
        return
    from services.trainer.adapters.methods.likelihoods.packed_attention import TOLERANCE, measure_kernel

    for heads, key_heads, size in ((14, 2, 64), (32, 8, 128)):
        errors = measure_kernel(heads, key_heads, size, torch.device("cuda"))
        for what, error in zip(("attention", "its gradients"), errors, strict=True):
            yield Check(f"packed {what}, {heads} heads of {size}: relative error", error, TOLERANCE)


def check_scores(bench: Bench) -> Iterator[Check]:
    """Losses and gradients of one batch, each way, against the padded batch on a CPU in fp32."""
    import torch

    batch = bench.folder, make_pair_batch(bench), make_row_batch(bench)
    wanted = {kind: measure_batch(*batch, kind, "cpu", None) for kind in ("sft", "dpo")}
    ways = [(kind, way, precision) for kind in ("sft", "dpo") for way, precision in list_ways(kind)]
    bounds = {"fp32": (1e-4, 1e-3), "bf16": (0.02, 0.12)}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for kind, way, precision in ways:
        found = measure_batch(*batch, kind, device, torch.bfloat16 if precision == "bf16" else None, way)
        for what, bound, mine, theirs in zip(
            ("log-probabilities", "gradients"), bounds[precision], found, wanted[kind], strict=True
        ):
            yield Check(f"{kind} {way} {precision} {what}: relative error", measure_error(mine, theirs), bound)
    wrong = measure_batch(*batch, "dpo", device, None, "seeing the other answer")[0]
    yield Check("dpo with a wrong mask: relative error, seen", measure_error(wrong, wanted["dpo"][0]), 0.02, "at_least")


def list_ways(kind: str) -> list[tuple[str, str]]:
    import torch

    ways = [("padded", "fp32"), ("padded", "bf16"), ("packed by mask", "fp32"), ("packed by mask", "bf16")]
    return [*ways, ("packed by kernel", "bf16")] if torch.cuda.is_available() else ways


def measure_batch(
    folder: Path, pairs: Any, rows: Any, kind: str, device: str, dtype: Any, way: str = "padded"
) -> tuple[Any, Any]:
    """Log-probabilities of the answers, and the gradient of a loss of them, both on the CPU in fp32."""
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    from services.trainer.adapters.methods.likelihoods.packing import take_up_kernel

    model: nn.Module = AutoModelForCausalLM.from_pretrained(folder / "parent", dtype=torch.float32).to(device)
    given = {name: tensor.to(device) for name, tensor in (pairs if kind == "dpo" else rows).items()}

    def autocast() -> Any:
        return torch.autocast(device, dtype, enabled=dtype is not None)

    if way == "packed by kernel" and not take_up_kernel(model, autocast, 160):
        raise RuntimeError("the model does not take the kernel")
    with autocast():
        logps = (score_pairs if kind == "dpo" else score_rows)(model, given, way)
    weights = torch.linspace(-1, 1, len(logps), device=device) if kind == "dpo" else torch.ones_like(logps)
    (logps * weights).sum().backward()
    gradient = torch.cat([weight.grad.float().flatten() for weight in model.parameters() if weight.grad is not None])
    return logps.detach().float().cpu(), gradient.cpu()


def score_pairs(model: Any, batch: Any, way: str) -> Any:
    from services.trainer.adapters.methods.likelihoods.pair_scores import score_padded, score_shared

    if way == "padded":
        return score_padded(model, batch, with_entropy=False).logps_2b
    if way == "seeing the other answer":
        return score_wrongly(model, batch)
    with_kernel = way == "packed by kernel"
    return score_shared(model, batch, with_entropy=False, with_kernel=with_kernel, longest=160).logps_2b


def score_wrongly(model: Any, batch: Any) -> Any:
    """With a causal mask alone: a rejected answer sees the chosen one. So the other checks can fail."""
    import torch

    from services.trainer.adapters.methods.likelihoods.answer_likelihood import measure_likelihood
    from services.trainer.adapters.methods.likelihoods.prefix_sharing import pack_pairs

    [pack] = pack_pairs(batch, None)
    mask = torch.ones_like(pack.attention_mask).tril()
    hidden = model.model(pack.input_ids, attention_mask=mask, position_ids=pack.position_ids).last_hidden_state[0]
    found = measure_likelihood(hidden[pack.kept], model.lm_head.weight, pack.targets)
    return torch.zeros(len(batch["input_ids"]), device=hidden.device).index_add(0, pack.rows, found.logps)


def score_rows(model: Any, batch: Any, way: str) -> Any:
    import torch

    from services.trainer.adapters.methods.likelihoods.packing import pack_rows, score_pack

    if way != "padded":
        return score_pack(model, pack_rows(batch, 160), with_kernel=way == "packed by kernel").logps
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].float()
    aims = batch["labels"][:, 1:]
    logps = torch.log_softmax(logits, -1).gather(-1, aims.clamp(min=0)[..., None])[..., 0]
    return logps[aims != -100]


def make_pair_batch(bench: Bench) -> Any:
    """As TRL's collator lays pairs out."""
    import torch

    tokens = [_tokenize(bench, pair) for pair in _read_pairs(bench)[:ROWS]]
    rows = [(prompt, chosen) for prompt, chosen, _ in tokens] + [(prompt, rejected) for prompt, _, rejected in tokens]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids, mask, completion = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    for index, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[index, :end] = torch.tensor(prompt + answer)
        mask[index, :end] = 1
        completion[index, len(prompt) : end] = 1
    return {"input_ids": ids, "attention_mask": mask, "completion_mask": completion}


def make_row_batch(bench: Bench) -> Any:
    pairs = make_pair_batch(bench)
    ids, mask, completion = (pairs[name][:ROWS] for name in ("input_ids", "attention_mask", "completion_mask"))
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(completion == 0, -100)}


def _read_pairs(bench: Bench) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    pairs: list[dict[str, Any]] = pq.read_table(bench.folder / "dataset/train.parquet").to_pylist()
    return pairs


def _tokenize(bench: Bench, pair: dict[str, Any]) -> tuple[list[int], list[int], list[int]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bench.parent)
    prompt = tokenizer.apply_chat_template(pair["prompt"], return_dict=False)
    chosen, rejected = (
        tokenizer.apply_chat_template(pair["prompt"] + pair[side], return_dict=False)[len(prompt) :]
        for side in ("chosen", "rejected")
    )
    return prompt, chosen, rejected


# --- whole runs


CURVES: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "dpo": {"method": "dpo"},
}


def start_reference(folder: Path) -> "subprocess.Popen[bytes]":
    """The same runs on the CPU in fp32, in a process that sees no GPU, while the GPU has other things to do."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.gpu.correctness", "--reference", str(folder)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "4")},
    )


def train_reference(folder: Path) -> None:
    bench = Bench(folder, "fp32")
    for name, settings in CURVES.items():
        watch = (
            bench.train(f"cpu-{name}", **settings, prefix_sharing=False)
            if name == "dpo"
            else bench.train(f"cpu-{name}", **settings)
        )
        (folder / f"curve-{name}.json").write_text(json.dumps(list_curve(watch)))


def list_curve(watch: Stopwatch) -> dict[str, list[float]]:
    return {name: watch.list_figures(name) for name in ("loss", "grad_norm", "logps/chosen", "logps/rejected")}


def check_curves(bench: Bench) -> Iterator[Check]:
    """Loss and gradient norm of the first steps of whole runs against the CPU's."""
    ways: list[tuple[str, str, dict[str, Any], float]] = [
        ("sft", "padded fp32", {}, 1e-3),
        ("sft", f"packed {bench.half}", {"precision": bench.half}, 0.02),
        ("dpo", "padded fp32", {"prefix_sharing": False}, 1e-3),
        ("dpo", "shared by mask fp32", {}, 1e-3),
        ("dpo", f"padded {bench.half}", {"prefix_sharing": False, "precision": bench.half}, 0.02),
        ("dpo", f"shared {bench.half}", {"precision": bench.half}, 0.02),
        ("dpo", f"shared {bench.half} compiled", {"precision": bench.half, "compile": True}, 0.02),
        ("sft", f"packed {bench.half} compiled", {"precision": bench.half, "compile": True}, 0.02),
    ]
    for method, words, settings, bound in ways:
        wanted = json.loads((bench.folder / f"curve-{method}.json").read_text())
        found = list_curve(bench.train(f"curve {method} {words}", method, **settings))
        for name in ("loss", "grad_norm", "logps/chosen"):
            if not wanted[name]:
                continue
            error = max(abs(mine - theirs) for mine, theirs in zip(found[name], wanted[name], strict=True))
            scale = max(abs(value) for value in wanted[name])
            times = 5 if name == "grad_norm" else 1
            yield Check(f"{method} {words}, {STEPS} steps, {name}: relative error", error / scale, times * bound)


def check_methods(bench: Bench) -> Iterator[Check]:
    """A step of every method: the weights move, and by numbers."""
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
    """A run that is stopped after three of six steps and taken up again ends where an undisturbed one does."""
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
    """The candidate of a LoRA run answers as transformers with peft does with the adapter of its last checkpoint."""
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


def check_memory(bench: Bench) -> Iterator[Check]:
    """A run that does not fit goes on with fewer rows at a time."""
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


def measure_error(found: Any, wanted: Any) -> float:
    """‖found - wanted‖ / ‖wanted‖."""
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


def measure_distance(one: Path, other: Path) -> float:
    """‖difference‖ / ‖other‖ of two checkpoints' weights of the same name; the head that scores is left out."""
    import torch
    from safetensors.torch import load_file

    mine, theirs = (
        {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
        for folder in (one, other)
    )
    shared = [name for name in mine if name in theirs and mine[name].shape == theirs[name].shape]
    return measure_error(*(torch.cat([each[name].float().flatten() for name in shared]) for each in (mine, theirs)))


CASES = (check_kernel, check_scores, check_resume, check_merging, check_memory, check_methods)
"""In the order of their priority; the curves come last, for the CPU takes its time."""

if __name__ == "__main__":
    if sys.argv[1] == "--reference":
        train_reference(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])
