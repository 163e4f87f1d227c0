"""What the planner estimates beside what training really takes: `make bench-planner`.

Each case trains SmolLM2-135M for two steps in a process of its own, every row cut at `max_length`, which is what the
planner reckons with. Measured is the peak of the process's resident memory above what it held before the model was
loaded, with all libraries imported.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from local.layout import find_base_model
from local.models.checkpoints import export_smollm2
from local.results import RESULTS, Goal, Row, write_result
from recipes.freezing import freeze, write_lines
from services.trainer.adapters.artifacts.model_size import read_model_size
from services.trainer.domain.planning.memory import Estimate
from services.trainer.domain.planning.planner import Devices, plan_run
from services.trainer.domain.recipe.parsing import parse_recipe

SHARED: dict[str, Any] = {"name": "planned", "max_steps": 2, "max_length": 256, "save_steps": 2, "learning_rate": 1e-5}
LORA = {"lora": {"r": 16, "alpha": 32}}
CASES: dict[str, dict[str, Any]] = {
    "sft, all weights, 2 rows": {"method": "sft", "tuning": "full", "batch_size": 2},
    "sft, LoRA, 4 rows": {"method": "sft", "batch_size": 4, **LORA},
    "sft, LoRA, 8 rows": {"method": "sft", "batch_size": 8, **LORA},
    "sft, LoRA, 8 rows, checkpointing": {"method": "sft", "batch_size": 8, "activation_checkpointing": True, **LORA},
    "dpo, LoRA, 2 pairs": {"method": "dpo", "batch_size": 2, **LORA},
    "dpo, LoRA, 4 pairs": {"method": "dpo", "batch_size": 4, **LORA},
    "dpo, all weights, 2 pairs": {"method": "dpo", "tuning": "full", "batch_size": 2},
}
LOW, HIGH = 0.75, 1.1
"""Measured over estimated: above `HIGH` a run that was said to fit may not; the planner leaves 15% besides."""
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="the chat model; default: SmolLM2-135M-Instruct")
    parser.add_argument("--keep", action="store_true", help="keep the figures in bench/results/")
    parser.add_argument("--case", help="for the child processes")
    parser.add_argument("--output", type=Path, help="for the child processes")
    given = parser.parse_args()
    base = (given.base or export_smollm2(find_base_model())).resolve()
    if given.case:
        measure_here(base, CASES[given.case], given.output)
        return
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as folder:
        found = list(measure(base, Path(folder)))
        write(found, RESULTS if given.keep else Path(folder))


def measure(base: Path, folder: Path) -> Iterator[tuple[str, Estimate, int]]:
    """Yield each case's name, estimate, and measured bytes."""
    size, devices = read_model_size(base), Devices("cpu", 1, psutil.virtual_memory().total)
    for number, (name, case) in enumerate(CASES.items(), start=1):
        output = folder / str(number)
        command = [sys.executable, "-m", "bench.planner", "--base", str(base), "--case", name, "--output", str(output)]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        measured = int(json.loads((output / "peak.json").read_text(encoding="utf-8")))
        estimate = plan_run(parse_recipe(SHARED | case), size, devices)[-1].estimate
        print(
            f"{number} of {len(CASES)}, {name}: {measured / MIB:.0f} MiB, estimated {estimate.total / MIB:.0f}"
            f" ({measured / estimate.total:.2f})",
            flush=True,
        )
        yield name, estimate, measured


def write(found: list[tuple[str, Estimate, int]], folder: Path) -> None:
    rows = []
    for name, estimate, measured in found:
        rows += [
            Row.of(f"{name}: measured", "MiB", [measured / MIB]),
            Row.of(f"{name}: estimated", "MiB", [estimate.total / MIB]),
            Row.of(f"{name}: measured over estimated", "ratio", [measured / estimate.total]),
        ]
    ratios = [measured / estimate.total for _, estimate, measured in found]
    goals = [
        Goal("least measured over estimated", min(ratios), LOW, "at_least"),
        Goal("most measured over estimated", max(ratios), HIGH, "at_most"),
    ]
    write_result("planner", rows, goals, {"recipe": SHARED, "cases": CASES}, folder=folder)


def measure_here(base: Path, case: dict[str, Any], output: Path) -> None:
    """Train in this process, and write the peak above the start as `peak.json`."""
    from services.trainer.adapters.methods import dpo, sft  # noqa: F401  # all libraries, before the first look
    from services.trainer.bootstrap.standalone import train_file

    pair = {
        "prompt": [{"role": "user", "content": "Where is my order?"}],
        "chosen": "It is on its way to you. " * SHARED["max_length"],
        "rejected": "How nice of you to ask me! " * SHARED["max_length"],
    }
    data = output / "rows" / "data"
    for name in ("train", "validation"):
        write_lines(data / f"{name}.jsonl", [pair] * 2 * case["batch_size"])
    answers = [{"prompt": pair["prompt"], "answer": pair["chosen"]}] * 2 * case["batch_size"]
    write_lines(data / "sft.jsonl", answers)
    recipe = output / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(SHARED | case), encoding="utf-8")
    dataset = freeze(data, output / "datasets")
    memory = Memory()
    train_file(recipe, base=base, dataset=dataset, output=output / "run", threads=0, print_line=memory.listen)
    (output / "peak.json").write_text(json.dumps(memory.most), encoding="utf-8")


class Memory:
    """Bytes above the start, looked at every 5 ms until the outcome is saved."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start = self._process.memory_info().rss
        self._saving = threading.Event()
        self.most = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def listen(self, line: str) -> None:
        if line == "saving":
            self._saving.set()

    def _watch(self) -> None:
        while not self._saving.is_set():
            self.most = max(self.most, self._process.memory_info().rss - self._start)
            time.sleep(0.005)


if __name__ == "__main__":
    main()
