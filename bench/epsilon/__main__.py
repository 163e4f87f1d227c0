"""`make bench-epsilon`: is the probability of being wrong, which each pair carries, worth anything to DPO?

The histories are `bench/noise/`'s: 30% wrong votes, by contrary users (wrong in 80%) or careless ones (50%).
The curator's own functions make a dataset of each; the trainer's own DPO trains on its pairs from one parent: with each
pair's ε, without (ε = 0), and with the same figures dealt out at random; once for one pass over the pairs and once for
four, which was best for DPO without ε on seeds that do not judge (1,000 and on, contrary users). What is measured:
how many held-out items the policy ranks rightly, by the known truth. One seed is one history, one parent and one order;
differences are taken within a seed.
"""

import argparse
import os
import random
import statistics
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import t

from bench.noise.curator import run_curator
from bench.noise.world import FLIPS, Scene, record
from local.results import Goal, Row, write_result
from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Job

SEEDS = 12
WRONG = 0.3
PROMPTS = 600
HELD_OUT = 1_000
VARIANTS = ("with ε", "without", "shuffled")
PASSES = {"one pass": 1, "four passes": 4}
BATCH = 16
RECIPE = {
    "name": "epsilon",
    "method": "dpo",
    "tuning": "full",
    "batch_size": BATCH,
    "learning_rate": 2.0e-3,
    "lr_scheduler": "linear",
    "beta": 0.1,
    "max_length": 64,
    "save_steps": 10_000,
    "logging_steps": 50,
}


class NoWatch:
    stopping = False

    def on_phase(self, phase: str) -> None:
        """Nobody asks."""

    def on_step(self, step: int, total: int) -> None:
        """Nobody asks."""

    def on_micro_step(self) -> None:
        """Nobody asks."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Nobody asks."""

    def on_note(self, note: str) -> None:
        """Nobody asks."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        """Nobody asks."""


def measure(seed: int, kind: str) -> dict[tuple[str, str], float]:
    """Held-out accuracy by (passes, variant)."""
    from bench.epsilon.model import measure_accuracy, save_parent
    from services.trainer.adapters.methods.dpo import train_dpo

    scene = Scene.draw(seed, WRONG, FLIPS[kind])
    held_out = scene.world.make_items(HELD_OUT, first=PROMPTS)
    curated = run_curator(record(scene.votes, scene.world.rng)).snapshot.train
    pairs = [(one.item.chosen, one.item.rejected, one.epsilon) for one in curated]
    random.Random(seed).shuffle(pairs)
    figures = [epsilon for *_, epsilon in pairs]
    shuffled = random.Random(seed).sample(figures, len(pairs))
    dealt = {"with ε": figures, "without": [0.0] * len(pairs), "shuffled": shuffled}
    accuracy = {}
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as name:
        folder = Path(name)
        save_parent(folder / "parent", seed)
        for (passes, count), (variant, epsilons) in product(PASSES.items(), dealt.items()):
            recipe = parse_recipe(RECIPE | {"max_steps": count * len(pairs) // BATCH, "seed": seed})
            place = folder / f"{count}-{variant}"
            save_pairs(place / "dataset", pairs, epsilons)
            job = Job(recipe, folder / "parent", place / "dataset", place / "1", None, place / "candidate")
            train_dpo(job, NoWatch())
            accuracy[passes, variant] = measure_accuracy(folder / "parent", place / "candidate", held_out)
    return accuracy


def save_pairs(folder: Path, pairs: Sequence[tuple[str, str, float]], epsilons: Sequence[float]) -> None:
    def say(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    question = [{"role": "user", "content": "?"}]
    rows: list[dict[str, Any]] = [
        {"prompt": question, "chosen": say(chosen), "rejected": say(rejected), "epsilon": epsilon}
        for (chosen, rejected, _), epsilon in zip(pairs, epsilons, strict=True)
    ]
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")


def bound(differences: Sequence[float]) -> tuple[float, float]:
    """Student's 95% interval of the mean over seeds."""
    mean = statistics.fmean(differences)
    margin = float(t.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
    return mean - margin, mean + margin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=0, help="1000 and more: for choosing a recipe; keeps nothing")
    parser.add_argument("--kind", choices=FLIPS, default="contrary", help="how the unreliable users vote")
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    seen: list[dict[tuple[str, str], float]] = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        seen.append(measure(seed, arguments.kind))
        told = ", ".join(f"{passes} {variant} {value:.3f}" for (passes, variant), value in seen[-1].items())
        print(f"seed {seed}: {told}", flush=True)
    rows, goals = sum_up(seen)
    if not arguments.first:
        settings = {"wrong votes": WRONG, "prompts": PROMPTS, "held out": HELD_OUT, "passes": PASSES, "recipe": RECIPE}
        name = "epsilon" if arguments.kind == "contrary" else f"epsilon-{arguments.kind}"
        write_result(name, rows, goals, settings | {"unreliable users": arguments.kind})


def sum_up(seen: Sequence[dict[tuple[str, str], float]]) -> tuple[list[Row], list[Goal]]:
    rows: list[Row] = []
    goals: list[Goal] = []
    for passes in PASSES:
        for variant in VARIANTS:
            rows.append(
                Row.of(f"{passes}: held-out accuracy, {variant}", "share", [one[passes, variant] for one in seen])
            )
        for other in ("without", "shuffled"):
            differences = [one[passes, "with ε"] - one[passes, other] for one in seen]
            low, high = bound(differences)
            print(f"{passes}, with ε over {other}: {statistics.fmean(differences):+.4f} ({low:+.4f} to {high:+.4f})")
            rows.append(Row.of(f"{passes}: with ε minus {other}, by seed", "share", differences))
            goals.append(Goal(f"{passes}: with ε minus {other}, lower end of the 95% interval", low, 0, "at_least"))
        differences = [one[passes, "shuffled"] - one[passes, "without"] for one in seen]
        rows.append(Row.of(f"{passes}: shuffled minus without, by seed", "share", differences))
        name = f"{passes}: shuffled minus without, lower end of the 95% interval"
        goals.append(Goal(name, bound(differences)[0], 0, "at_most"))
    return rows, goals


if __name__ == "__main__":
    main()
