"""What every method does the same way: arguments, training from a checkpoint or from the start, saving the outcome."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import get_peft_model
from transformers import PrinterCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from services.trainer.adapters.candidate import save_candidate
from services.trainer.adapters.checkpoints import load_seconds
from services.trainer.adapters.observer import Observer
from services.trainer.adapters.policy import choose_adapter, load_policy, merge
from services.trainer.adapters.ranks import (
    EngagementCheck,
    is_first,
    leave_out_compiled_parts,
    put_together,
    take_up_fsdp,
    wait_for_all,
)
from services.trainer.domain.parallelism import build_deepspeed_config, build_fsdp_config
from services.trainer.domain.recipe import Recipe
from services.trainer.domain.training import Interrupted, Job, Trained, TrainingFailed, Watch


def begin(job: Job, watch: Watch) -> None:
    """To be called before the model is loaded: an adapter is drawn at random, and trainers seed only after that."""
    datasets.disable_progress_bars()
    watch.on_phase("loading")
    set_seed(job.recipe.seed)


def list_arguments(recipe: Recipe, checkpoints: Path) -> dict[str, Any]:
    """The arguments that all of TRL's configurations share, with nothing that matters left to their defaults.

    Raises:
        TrainingFailed: the recipe wants what this machine cannot do.
    """
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise TrainingFailed("precision: fp16 needs a GPU; on a CPU use fp32 or bf16")
    arguments = {
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
        "fp16": recipe.precision == "fp16",
        "use_cpu": not torch.cuda.is_available(),
        "activation_checkpointing": recipe.activation_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
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
    if recipe.length_grouped:  # else the method's own: kto needs its rows in order
        arguments["train_sampling_strategy"] = "group_by_length"
    return arguments | _list_parallel_arguments(recipe)


def _list_parallel_arguments(recipe: Recipe) -> dict[str, Any]:
    if not recipe.parallelism.is_spread:
        return {}
    arguments: dict[str, Any] = {"ddp_find_unused_parameters": False}
    if not torch.cuda.is_available():
        arguments["ddp_backend"] = "gloo"
    if (deepspeed := build_deepspeed_config(recipe.parallelism)) is not None:
        if not torch.cuda.is_available():
            leave_out_compiled_parts()
        arguments |= {"deepspeed": deepspeed, "optim": "adamw_torch"}
    fsdp = build_fsdp_config(recipe.parallelism, activation_checkpointing=recipe.activation_checkpointing)
    if fsdp is not None:
        arguments |= {"fsdp": True, "fsdp_config": fsdp, "activation_checkpointing": False}
    return arguments


def train_through(job: Job, watch: Watch, trainer: Any, observer: Observer) -> None:
    """Train to the end of the recipe's steps, or to where a guard ends the run well.

    Where a guard says so, it goes back to the last good checkpoint and on from there.

    Raises:
        TrainingFailed: a guard stopped the run.
        Interrupted: the worker was told to stop; a checkpoint is there.
        StaleClaim: from the watch.
    """
    trainer.remove_callback(PrinterCallback)
    if job.recipe.parallelism.strategy == "fsdp2":
        take_up_fsdp(trainer)
    if job.recipe.parallelism.is_spread:
        trainer.add_callback(EngagementCheck(job.recipe.parallelism, trainer))
    if job.resume_from:
        observer.count_earlier(load_seconds(job.resume_from))
    watch.on_phase("training")
    start = job.resume_from
    if start is not None:
        observer.checkpoints.add(0, start)
    while True:
        _train_from(start, trainer, observer)
        if observer.interrupted or observer.verdict.action != "roll back":
            break
        start = observer.go_back()
    if observer.verdict.action == "stop":
        raise TrainingFailed(observer.verdict.reason, "guard")
    if observer.interrupted:
        raise Interrupted(f"at step {trainer.state.global_step}")


def _train_from(start: Path | None, trainer: Any, observer: Observer) -> None:
    try:
        with explain_broken_sampling():
            trainer.train(resume_from_checkpoint=str(start) if start else None)
    except BrokenSampling as error:
        observer.blame(error.detail, trainer.state.global_step)


class BrokenSampling(TrainingFailed):
    """The policy answers nothing any more."""


@contextmanager
def explain_broken_sampling() -> Iterator[None]:
    """A policy whose weights are no numbers fails while it answers, before a guard sees its loss.

    Raises:
        BrokenSampling: in place of torch's message.
    """
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        raise BrokenSampling("the policy's token probabilities are nan: its weights are no longer numbers") from error


def save_policy(job: Job, watch: Watch, trainer: Any, observer: Observer, *, refused: int = 0) -> Trained:
    """Save the trained chat model as the candidate."""
    watch.on_phase("saving")
    if job.recipe.parallelism.is_spread:
        model = gather(job, trainer)
    else:
        model = trainer.accelerator.unwrap_model(trainer.model)
    weights_sha256 = save_candidate(merge(model, job.parent), job.parent, job.candidate) if is_first() else ""
    wait_for_all()
    return sum_up(trainer, observer, weights_sha256, refused=refused)


def gather(job: Job, trainer: Any) -> Any:
    """The whole model, put together on the first process from what each holds. Every process takes part."""
    if job.recipe.parallelism.strategy == "fsdp2":
        weights = put_together(trainer.model_wrapped)
    else:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not is_first():
        return None
    unset_hf_deepspeed_config()  # or the empty model would be divided among the processes as it is made
    model = load_policy(job.parent)
    adapter = choose_adapter(job.recipe, model)
    if adapter is not None:
        model = get_peft_model(model, adapter)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    untied = [name for name in missing if not name.endswith("lm_head.weight")]
    if untied or unexpected:
        raise TrainingFailed(f"the gathered model lacks {untied[:3]} and has {unexpected[:3]} besides", "error")
    return model


def sum_up(trainer: Any, observer: Observer, weights_sha256: str, *, refused: int = 0) -> Trained:
    return Trained(
        steps=trainer.state.global_step,
        weights_sha256=weights_sha256,
        summary=observer.outcome,
        pairs=len(trainer.train_dataset),
        refused=refused,
    )
