"""`make gpu-check`: our methods on this machine's GPUs beside plain TRL: tokens/s, MFU, memory.

Without a GPU it says so and ends well, having measured nothing. `--dry-run` takes the same way on the CPU with a model
of a few thousand weights: it shows that the way is open, and its figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gpu.flops import Work, calculate_mfu, find_peak_tflops
from bench.gpu.model import SHAPES, write_dataset, write_models
from local.results import Row, write_result

DEADLINE_SECONDS = 1800
PPO_EPOCHS = 4
"""TRL's passes over each batch of answers, by policy and value model."""


@dataclass(frozen=True)
class Case:
    method: str
    strategy: str
    processes: int
    plain: bool = False

    @property
    def name(self) -> str:
        return f"{self.method}, {'plain TRL' if self.plain else self.strategy}"


@dataclass(frozen=True)
class Settings:
    steps: int
    batch_size: int
    length: int
    precision: str

    def make_recipe(self, case: Case, judge: Path) -> dict[str, Any]:
        recipe: dict[str, Any] = {
            "name": "gpu-check",
            "method": case.method,
            "max_steps": self.steps,
            "batch_size": self.batch_size,
            "max_length": self.length,
            "precision": self.precision,
            "tuning": "full",
            "learning_rate": 1e-6,
            "save_steps": 10 * self.steps,
            "parallelism": {"strategy": case.strategy, "processes": case.processes},
        }
        if case.method == "sft":
            recipe["sft_rows"] = "chosen"
        if case.method == "ppo":
            recipe |= {"reward_model": str(judge), "sampling": {"max_new_tokens": self.length // 2}}
        return recipe

    def count_work(self, case: Case, parameters: int) -> Work:
        """Of a step over all processes. Reference log-probabilities that were computed before it are not in it."""
        tokens = self.batch_size * self.length * case.processes
        if case.method == "ppo":  # policy and value model learn; policy, reference, value and reward model read
            return Work(parameters, trained_tokens=2 * PPO_EPOCHS * tokens, read_tokens=5 * tokens)
        if case.method == "dpo":
            return Work(parameters, trained_tokens=2 * tokens, read_tokens=2 * tokens if case.plain else 0)
        return Work(parameters, trained_tokens=tokens)


def list_cases(devices: int) -> list[Case]:
    alone = [Case(method, "single", 1, plain) for method in ("sft", "dpo", "ppo") for plain in (False, True)]
    if devices < 2:  # there is nobody to divide with
        return alone
    return alone + [Case(method, strategy, devices) for strategy in ("zero3", "fsdp2") for method in ("sft", "dpo")]


def run_case(case: Case, settings: Settings, folder: Path, number: int) -> dict[str, Any]:
    """Raises: RuntimeError with the process's last words."""
    spec, out = folder / f"{number}.json", folder / f"{number}.out.json"
    content = {
        "recipe": settings.make_recipe(case, folder / "judge"),
        "plain": case.plain,
        "parent": str(folder / "parent"),
        "dataset": str(folder / "dataset"),
        "folder": str(folder / f"runs-{number}" / "1"),
    }
    spec.write_text(json.dumps(content))
    command = [sys.executable, "-m", "bench.gpu.case", str(spec), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    if not out.exists():
        raise RuntimeError(done.stderr.strip()[-600:])
    measured: dict[str, Any] = json.loads(out.read_text())
    return measured


def measure(cases: Sequence[Case], settings: Settings, shape: str, peak_tflops: float | None) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = write_models(folder, SHAPES[shape])
        write_dataset(folder / "dataset", rows=settings.batch_size * 16, length=settings.length)
        for number, case in enumerate(cases):
            print(case.name, flush=True)
            try:
                measured = run_case(case, settings, folder, number)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"  did not run: {error}", flush=True)
                continue
            seconds = measured["seconds_a_step"]
            work = settings.count_work(case, parameters)
            rows.append(Row.of(f"{case.name}: trained tokens", "1/s", [work.trained_tokens / seconds]))
            rows.append(Row.of(f"{case.name}: memory", "GiB", [measured["peak_bytes"] / 2**30]))
            if peak_tflops:
                share = calculate_mfu(work, seconds, devices=case.processes, peak_tflops=peak_tflops)
                rows.append(Row.of(f"{case.name}: MFU", "%", [100 * share]))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make gpu-check", description="Our methods on GPUs beside plain TRL.")
    parser.add_argument("--size", choices=["0.5b", "1.5b"], default="0.5b")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak-tflops", type=float, help="dense bf16 of a device whose name is not known")
    parser.add_argument("--dry-run", action="store_true", help="the same way on the CPU, tiny; figures mean nothing")
    chosen = parser.parse_args(arguments)
    import torch

    if chosen.dry_run:
        settings = Settings(steps=4, batch_size=2, length=16, precision="fp32")
        for row in measure(list_cases(1), settings, "tiny", None):
            print(f"{row.name}: {row.median:.4g} {row.unit}")
        return
    if not torch.cuda.is_available():
        print("gpu-check: no CUDA device on this machine, so nothing was measured.")
        return
    device, devices = torch.cuda.get_device_name(0), torch.cuda.device_count()
    if devices < 2:
        print("one GPU only: zero3 and fsdp2 need at least two and are left out")
    peak = chosen.peak_tflops or find_peak_tflops(device)
    if peak is None:
        print(f"no peak known for {device!r}: give --peak-tflops, or do without MFU")
    settings = Settings(steps=chosen.steps, batch_size=4, length=1024, precision="bf16")
    rows = measure(list_cases(devices), settings, chosen.size, peak)
    told = {"device": device, "devices": devices, "size": chosen.size, "steps": chosen.steps, "peak_tflops": peak}
    write_result("gpu-check", rows, [], told)


if __name__ == "__main__":
    main()
