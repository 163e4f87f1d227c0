"""What the checks of correctness are made of: a figure with its bound, runs of a small model, and distances."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gpu.model import Lengths, Shape
from bench.gpu.stopwatch import Stopwatch
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.sections import SAMPLING_METHODS
from services.trainer.domain.training import Job, TrainingResult

SHAPE = Shape(hidden=128, intermediate=256, layers=3, heads=4, key_value_heads=2, vocabulary=512)
SPREAD = 0.15
"""Of the weights: large enough that what a token sees decides what it predicts."""
LENGTHS = Lengths(prompt=(20, 90), answer=(10, 60))
PAIRS, STEPS, ROWS = 48, 6, 8
STEPS_OF_EACH_METHOD = 2
SCALED_STEPS = 30
"""Enough for fp16 to find a scale at which gradients do not overflow."""
WIDE_ROWS, NARROW_BYTES = 512, 400 << 20
"""More rows than find room in so much of the GPU."""
FULL_BYTES = 1 << 20
"""What is left of a GPU that others fill: no room for any model here."""


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

    @property
    def half_parent(self) -> Path:
        """The same model with its weights in bf16."""
        return self.folder / "half"

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
            "precision": "fp32",
        }
        if method == "sft":
            recipe["sft_rows"] = "chosen"
        if method in SAMPLING_METHODS:
            recipe |= {"reward_model": str(self.folder / "judge"), "sampling": {"max_new_tokens": 8}, "max_length": 120}
        recipe |= settings
        run = self.folder / name
        run.mkdir(parents=True, exist_ok=True)
        parent = self.half_parent if recipe.pop("on_half", False) else self.parent
        return Job(parse_recipe(recipe), parent, self.folder / "dataset", run / "1", None, run / "candidate")

    def train(self, name: str, method: str, **settings: Any) -> Stopwatch:
        watch = Stopwatch()
        run(self.make_job(name, method, **settings), watch)
        return watch


def run(job: Job, watch: Stopwatch) -> TrainingResult:
    from services.trainer.bootstrap.methods import METHODS

    return METHODS[job.recipe.method](0, job, watch)


def measure_error(found: Any, wanted: Any) -> float:
    """Return ‖found - wanted‖ / ‖wanted‖."""
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


def measure_distance(one: Path, other: Path) -> float:
    """Return ‖difference‖ / ‖other‖ of two checkpoints' weights of the same name; the head that scores is left out."""
    import torch
    from safetensors.torch import load_file

    mine, theirs = (
        {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
        for folder in (one, other)
    )
    shared = [name for name in mine if name in theirs and mine[name].shape == theirs[name].shape]
    return measure_error(*(torch.cat([each[name].float().flatten() for name in shared]) for each in (mine, theirs)))
