"""Arguments that all of TRL's configurations share."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import TrainingArguments

from services.trainer.adapters.distributed.collectives import disable_compiled_collectives
from services.trainer.domain.planning.parallelism import build_deepspeed_config, build_fsdp_config
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import TrainingFailed

Config = TypeVar("Config", bound=TrainingArguments)


def build_config(kind: type[Config], recipe: Recipe, checkpoints: Path, **own: Any) -> Config:
    """Build a method's TRL configuration from the shared arguments and its own, which go before.

    A process trains on one device: where transformers sees several GPUs it would spread one process over them by
    nn.DataParallel, with batches as many times as large.

    Raises:
        TrainingFailed: the recipe wants what this machine cannot do.
    """
    config: Config = kind(**list_arguments(recipe, checkpoints) | own)
    if config.n_gpu > 1:
        config._n_gpu = 1
    return config


def list_arguments(recipe: Recipe, checkpoints: Path) -> dict[str, Any]:
    """List the arguments that TRL's configurations share, with nothing that matters left to their defaults.

    Raises:
        TrainingFailed: the recipe wants what this machine cannot do.
    """
    arguments = (
        _list_optimizer_arguments(recipe)
        | _list_precision_arguments(recipe)
        | _list_schedule_arguments(recipe)
        | {
            "output_dir": str(checkpoints),
            "seed": recipe.seed,
            "data_seed": recipe.seed,
            "dataloader_pin_memory": torch.cuda.is_available(),
            "disable_tqdm": True,
            "report_to": "none",
        }
    )
    if recipe.length_grouped:  # else the method's own: kto needs its rows in order
        arguments["train_sampling_strategy"] = "group_by_length"
    return arguments | _list_parallel_arguments(recipe)


def _list_optimizer_arguments(recipe: Recipe) -> dict[str, Any]:
    return {
        "max_steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.lr_scheduler,
        "warmup_steps": round(recipe.warmup_ratio * recipe.steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
    }


def _list_precision_arguments(recipe: Recipe) -> dict[str, Any]:
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise TrainingFailed("precision: fp16 needs a GPU; on a CPU use fp32 or bf16")
    return {
        "bf16": recipe.precision == "bf16",
        "fp16": recipe.precision == "fp16",
        "use_cpu": not torch.cuda.is_available(),
        "activation_checkpointing": recipe.activation_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
    }


def _list_schedule_arguments(recipe: Recipe) -> dict[str, Any]:
    """List when to save, log and measure."""
    return {
        "save_steps": recipe.save_steps,
        "save_total_limit": 2,
        "logging_steps": recipe.logging_steps,
        "logging_nan_inf_filter": False,  # it would show the guards a finite loss in place of a NaN
        "eval_strategy": "steps" if recipe.eval_steps else "no",
        "eval_steps": recipe.eval_steps,
    }


def _list_parallel_arguments(recipe: Recipe) -> dict[str, Any]:
    """List how a run over several processes is divided; nothing for a single one."""
    if not recipe.parallelism.is_distributed:
        return {}
    arguments: dict[str, Any] = {"ddp_find_unused_parameters": False}
    if not torch.cuda.is_available():
        arguments["ddp_backend"] = "gloo"
    if (deepspeed := build_deepspeed_config(recipe.parallelism)) is not None:
        if not torch.cuda.is_available():
            disable_compiled_collectives()
        arguments |= {"deepspeed": deepspeed, "optim": "adamw_torch"}
    fsdp = build_fsdp_config(recipe.parallelism, activation_checkpointing=recipe.activation_checkpointing)
    if fsdp is not None:
        arguments |= {"fsdp": True, "fsdp_config": fsdp, "activation_checkpointing": False}
    return arguments
