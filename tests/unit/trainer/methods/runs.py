"""Runs of every method on a tiny model, from a dataset that the curator's own writer froze."""

from pathlib import Path
from typing import Any

from services.curator.datasets.adapters import DatasetContent, write_dataset
from services.trainer.adapters.methods.dpo import train_dpo
from services.trainer.adapters.methods.kto import train_kto
from services.trainer.adapters.methods.online.grpo import train_grpo
from services.trainer.adapters.methods.online.ppo import train_ppo
from services.trainer.adapters.methods.online.rloo import train_rloo
from services.trainer.adapters.methods.reward import train_reward
from services.trainer.adapters.methods.sft import train_sft
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Job
from services.trainer.ports import TrainingMethod
from tests.unit.trainer.quiet_reporter import QuietReporter
from tests.unit.trainer.tiny_model import make_pairs

TRAIN: dict[str, TrainingMethod] = {
    "sft": train_sft,
    "dpo": train_dpo,
    "kto": train_kto,
    "reward": train_reward,
    "rloo": train_rloo,
    "grpo": train_grpo,
    "ppo": train_ppo,
}
WEIGHING = {"epsilon": 0.1, "rule": "choice", "rule_version": 1}
SAMPLED: dict[str, Any] = {"sampling": {"max_new_tokens": 12}, "batch_size": 4, "max_steps": 3, "learning_rate": 3e-3}


def freeze(folder: Path, *, answers: int = 16, labels: int = 18) -> Path:
    pairs = [pair | WEIGHING for pair in make_pairs(24)]
    rows: dict[Any, Any] = {
        "train": pairs[:16],
        "validation": pairs[16:],
        "labels": [
            {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen", "label_id": f"{row}"}
            | WEIGHING
            for row, pair in enumerate(pairs)
            for side in ("chosen", "rejected")
        ][:labels],
        "sft": [
            {"prompt": pair["prompt"], "completion": pair["chosen"], "pair_id": pair["pair_id"]} | WEIGHING
            for pair in pairs[:answers]
        ],
        "safety": [],
    }
    return write_dataset(folder, DatasetContent("ab" * 32, rows, {}, "", []))


def make_job(folder: Path, parent: Path, token: int = 1, resume_from: Path | None = None, **changes: Any) -> Job:
    content = {"name": "tiny", "max_steps": 4, "learning_rate": 1e-2, "save_steps": 2, "max_length": 96}
    recipe = parse_recipe(content | changes)
    dataset = next((folder / "datasets").glob("ab*"), None) or freeze(folder / "datasets")
    return Job(recipe, parent, dataset, folder / str(token), resume_from, folder / str(token) / "candidate")


def train(job: Job, reporter: QuietReporter | None = None) -> Any:
    return TRAIN[job.recipe.method](job, reporter or QuietReporter())
