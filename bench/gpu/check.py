"""`make gpu-check`: is training on this GPU right, and how fast is it? One command, at most ten minutes, one GPU.

First correctness, then speed by size of model in an order of priority; what was cut for time is said. Without a GPU, or
where the time was up before anything was checked, it says so and ends with status 1. `--dry-run` takes the same way on
the CPU with tiny models: it shows that the way is open, and its figures of speed mean nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.gpu.conclusions import list_goals, list_rows, say_speed
from bench.gpu.flops import find_peak_tflops
from local.results import RESULTS, write_result

TOTAL_SECONDS = 570.0
CORRECTNESS_SECONDS = 180.0
LEAST_SECONDS = 45.0
"""A size is not begun with less than this left."""
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "triton", "liger-kernel")
ABSENT_ALLOWED = ("deepspeed", "bitsandbytes")
Entry = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make gpu-check", description="Is training on this GPU right, and how fast?")
    parser.add_argument("--sizes", default="0.5b,1.5b,8b", help="by priority")
    parser.add_argument("--contestants", default="", help="names, comma between; none: all")
    parser.add_argument("--seconds", type=float, default=TOTAL_SECONDS, help="for everything")
    parser.add_argument("--only-speed", action="store_true")
    parser.add_argument("--peak-tflops", type=float, help="dense bf16 of a device whose name is not known")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where gpu-check.json goes")
    parser.add_argument("--parts", type=Path, help="a folder for what the processes noted and said; default: none kept")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU with tiny models")
    chosen = parser.parse_args(arguments)
    import torch

    if not (torch.cuda.is_available() or chosen.dry_run):
        print("gpu-check: no CUDA device on this machine, so nothing was measured.")
        return 1
    device = "none (dry run)" if chosen.dry_run else torch.cuda.get_device_name(0)
    versions = {name: find_version(name) for name in (*PACKAGES, *ABSENT_ALLOWED)}
    print(f"{device}; Python {sys.version.split()[0]}; CUDA {torch.version.cuda}; {versions}", flush=True)
    for name in ABSENT_ALLOWED:
        if versions[name] is None:
            print(f"{name} is not installed: what needs it was not tried")
    with tempfile.TemporaryDirectory() as scratch:
        entries = run_all(chosen, chosen.parts or Path(scratch), time.monotonic() + chosen.seconds)
    peak = chosen.peak_tflops or find_peak_tflops(device)
    for line in say_speed(entries, peak):
        print(line)
    failed = [entry for entry in entries if entry.get("passed") is False]
    settings = {
        "device": device,
        "cuda": torch.version.cuda,
        "versions": versions,
        "peak_tflops": peak,
        "runs": entries,
    }
    if not chosen.dry_run:
        write_result("gpu-check", list_rows(entries, peak), list_goals(entries, peak), settings, chosen.output)
    checks = [entry for entry in entries if "passed" in entry]
    print(f"correctness: {len(checks) - len(failed)} of {len(checks)} checks passed")
    for entry in failed:
        print(f"FAILED: {entry.get('name', entry['case'])}: {entry.get('measured', entry.get('error'))}")
    if not (checks or chosen.only_speed):
        print("FAILED: nothing was checked")
    return 1 if failed or not (checks or chosen.only_speed) else 0


def run_all(chosen: argparse.Namespace, folder: Path, deadline: float) -> list[Entry]:
    entries: list[Entry] = []
    if not chosen.only_speed:
        seconds = min(CORRECTNESS_SECONDS, deadline - time.monotonic())
        half = "fp32" if chosen.dry_run else "bf16"
        entries += run_process(["bench.gpu.correctness"], [str(seconds), half], seconds, folder)
        print_checks(entries)
    sizes = ["tiny"] if chosen.dry_run else chosen.sizes.split(",")
    for index, size in enumerate(sizes):
        left = deadline - time.monotonic()
        if left < LEAST_SECONDS:
            entries.append({"size": size, "left_out": "cut for time"})
            continue
        print(f"--- {size}, {left:.0f} s left", flush=True)
        share = left / (len(sizes) - index)
        entries += run_process(["bench.gpu.speed", size], [str(share), chosen.contestants], left, folder)
    return entries


def run_process(module: list[str], arguments: list[str], seconds: float, folder: Path) -> list[Entry]:
    """Return what the process noted until it ended or its time was up; it and the process's own words go into the
    folder.
    """
    name, *more = module
    out, log = (folder / f"{'-'.join(module)}.{ending}" for ending in ("jsonl", "log"))
    command = [sys.executable, "-m", name, *more, str(out), *arguments]
    with log.open("w") as file:
        environment = {**os.environ, "TQDM_DISABLE": "1"}
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        try:
            status: Any = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and the reference that it started on the CPU
            process.wait()
            status = f"stopped after {seconds:.0f} s"
    entries = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    if status:
        words = log.read_text()[-1500:]
        print(f"{' '.join(module)}: ended with {status}: {words}", flush=True)
        is_late = isinstance(status, str)  # what was cut for time is no failure
        entries.append(
            {"case": " ".join(module), "error": f"{status}: {words}"} | ({} if is_late else {"passed": False})
        )
    return entries


def print_checks(entries: list[Entry]) -> None:
    for entry in entries:
        if "measured" in entry:
            verdict, sense = "ok" if entry["passed"] else "FAILED", entry["sense"].replace("_", " ")
            print(f"  {entry['name']}: {entry['measured']:.3g} ({sense} {entry['bound']:g}) {verdict}", flush=True)
        elif "left_out" in entry:
            print(f"  {entry['case']}: {entry['left_out']}", flush=True)


def find_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
