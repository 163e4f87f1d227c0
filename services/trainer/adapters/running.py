"""What every method does the same way: arguments, training from a checkpoint or from the start, saving the outcome."""

from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PrinterCallback, set_seed

from services.trainer.adapters.candidate import save_candidate
from services.trainer.adapters.observer import Observer
from services.trainer.adapters.policy import merge
from services.trainer.domain.recipe import Recipe
from services.trainer.domain.training import Interrupted, Job, Trained, TrainingFailed, Watch


def begin(job: Job, watch: Watch) -> None:
    """To be called before the model is loaded: an adapter is drawn at random, and trainers seed only after that."""
    datasets.disable_progress_bars()
    watch.on_phase("loading")
    set_seed(job.recipe.seed)


def list_arguments(recipe: Recipe, checkpoints: Path) -> dict[str, Any]:
    """The arguments that all of TRL's configurations share, with nothing that matters left to their defaults."""
    return {
        "output_dir": str(checkpoints),
        "max_steps": recipe.max_steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.lr_scheduler,
        "warmup_steps": round(recipe.warmup_ratio * recipe.max_steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
        "bf16": recipe.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "activation_checkpointing": False,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "save_steps": recipe.save_steps,
        "save_total_limit": 2,
        "logging_steps": recipe.logging_steps,
        "logging_nan_inf_filter": False,  # it would show the guards a finite loss in place of a NaN
        "eval_strategy": "steps" if recipe.eval_steps else "no",
        "eval_steps": recipe.eval_steps,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "disable_tqdm": True,
        "report_to": "none",
    }


def train_through(job: Job, watch: Watch, trainer: Any, observer: Observer) -> None:
    """Train to the end of the recipe's steps, or to where a guard ends the run well.

    Raises:
        TrainingFailed: a guard stopped the run.
        Interrupted: the worker was told to stop; a checkpoint is there.
        StaleClaim: from the watch.
    """
    trainer.remove_callback(PrinterCallback)
    watch.on_phase("training")
    trainer.train(resume_from_checkpoint=str(job.resume_from) if job.resume_from else None)
    if observer.verdict.action == "stop":
        raise TrainingFailed(observer.verdict.reason)
    if observer.interrupted:
        raise Interrupted(f"at step {trainer.state.global_step}")


def save_policy(job: Job, watch: Watch, trainer: Any, observer: Observer, *, refused: int = 0) -> Trained:
    """Save the trained chat model as the candidate."""
    watch.on_phase("saving")
    merged = merge(trainer.accelerator.unwrap_model(trainer.model), job.parent)
    return sum_up(trainer, observer, save_candidate(merged, job.parent, job.candidate), refused=refused)


def sum_up(trainer: Any, observer: Observer, weights_sha256: str, *, refused: int = 0) -> Trained:
    return Trained(
        steps=trainer.state.global_step,
        weights_sha256=weights_sha256,
        words=observer.verdict.reason or "all steps taken",
        pairs=len(trainer.train_dataset),
        refused=refused,
    )
