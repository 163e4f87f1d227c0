"""The trainer beside TRL: `make bench-train`.

DPO with LoRA on SmolLM2-135M cut to its lowest layers, once over the same pairs, in batches of the same size:

- plain: the script a user of TRL would write, with TRL's defaults
- tuned: the same script with all that the trainer sets otherwise than TRL (`once.py` lists it)
- padded: what `heliotrope train` does, with its guards, checkpoints and records, but `prefix_sharing: false`, so that
  its batches are those of the tuned script
- ours: the same at its defaults: each prompt once for both answers, no padding, logits of the answers only

Each training is a process of its own; the four take turns, and who begins changes from round to round. Ratios are
geometric means over the rounds with the t interval of their logarithms.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.train.conclusions import ACCURACY, VARIANTS, Figures, sum_up
from local.layout import find_base_model
from local.models.checkpoints import export_smollm2
from local.results import RESULTS, write_result
from recipes.freezing import freeze, read_lines, write_lines
from recipes.safety_rlhf.judge_base import write_judge_base

ROUNDS = 7
LAYERS = 6
PAIRS = 64
VALIDATION_PAIRS = 24
RECIPE: dict[str, Any] = {
    "name": "bench",
    "method": "dpo",
    "max_steps": PAIRS // 8,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "save_steps": PAIRS // 8,
    "lora": {"r": 16, "alpha": 32},
}
RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="the chat model whose lowest layers are trained; default: SmolLM2")
    parser.add_argument("--output", type=Path, help="a new folder; default: one under .heliotrope/bench/")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--keep", action="store_true", help="keep the figures in bench/results/")
    given = parser.parse_args()
    output = given.output or Path(".heliotrope/bench") / f"train-{time.strftime('%Y%m%d-%H%M%S')}"
    base = write_judge_base(given.base or export_smollm2(find_base_model()), output / "base", given.layers)
    dataset = freeze(gather_pairs(output / "rows" / "data"), output / "datasets")
    runs, learning = measure(base.resolve(), dataset.resolve(), output, given.rounds)
    rows, goals = sum_up(runs, learning, count_tokens(base, dataset))
    settings = {
        "recipe": RECIPE,
        "layers": given.layers,
        "pairs": PAIRS,
        "accuracy": ACCURACY,
        "interval": "95%, t of the logarithms of paired ratios",
        "accuracies": learning,
    }
    write_result("train", rows, goals, settings, folder=RESULTS if given.keep else output)


def gather_pairs(data: Path) -> Path:
    """Gather pairs of both recipes, in turns: of different length, as people's are."""
    for name, count in (("train", PAIRS), ("validation", VALIDATION_PAIRS)):
        sources = [read_lines(RECIPES / recipe / "data" / f"{name}.jsonl") for recipe in ("support_bot", "safety_rlhf")]
        pairs = [pair for both in zip(*sources, strict=False) for pair in both][:count]
        write_lines(
            data / f"{name}.jsonl", [{side: pair[side] for side in ("prompt", "chosen", "rejected")} for pair in pairs]
        )
    write_lines(data / "sft.jsonl", [])
    return data


def count_tokens(base: Path, dataset: Path) -> int:
    """Count those of all pairs' both sides with their prompts, without padding."""
    from services.trainer.adapters.artifacts.dataset import load_pairs
    from services.trainer.adapters.methods.models import load_tokenizer

    tokenizer = load_tokenizer(base)
    return sum(
        len(tokenizer.apply_chat_template(pair["prompt"] + pair[side], return_dict=False))
        for pair in load_pairs(dataset / "train.parquet")
        for side in ("chosen", "rejected")
    )


def measure(
    base: Path, dataset: Path, output: Path, rounds: int
) -> tuple[dict[str, list[Figures]], dict[str, list[tuple[int, float]]]]:
    """Return each variant's rounds, and its validation accuracy by step from a run of its own, which looks at it."""
    recipe = output / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE, sort_keys=False), encoding="utf-8")
    began, done, total = time.monotonic(), 0, (rounds + 1) * len(VARIANTS)

    def train(variant: str, name: str, *more: str) -> Figures:
        nonlocal done
        folder = output / name / variant
        command = [sys.executable, "-m", "bench.train.once", variant, str(base), str(dataset), str(folder), str(recipe)]
        with (output / "log.txt").open("a", encoding="utf-8") as log:
            subprocess.run([*command, *more], check=True, stdout=log, stderr=log, timeout=900)
        figures: Figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        done += 1
        left = (time.monotonic() - began) / done * (total - done)
        print(
            f"{name} {variant}: {figures['seconds']:.1f} s, {figures['peak_mib']:.0f} MiB; {left:.0f} s left",
            flush=True,
        )
        return figures

    learning = {variant: train(variant, "learning", "--evaluate")["accuracies"] for variant in VARIANTS}
    runs: dict[str, list[Figures]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        for variant in _rotate(VARIANTS, number):
            runs[variant].append(train(variant, f"round-{number + 1}"))
    return runs, learning


def _rotate(variants: Sequence[str], by: int) -> list[str]:
    first = by % len(variants)
    return [*variants[first:], *variants[:first]]


if __name__ == "__main__":
    main()
