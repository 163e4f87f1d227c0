"""The training loop that methods share: from a checkpoint or from the start, to the saved candidate."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from peft import PeftModel, get_peft_model
from transformers import PrinterCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from services.trainer.adapters.artifacts.candidate import save_adapter, save_candidate
from services.trainer.adapters.artifacts.checkpoints import load_training_seconds
from services.trainer.adapters.distributed.collectives import (
    enable_fsdp2,
    gather_full_state_dict,
    is_main_process,
    wait_for_everyone,
)
from services.trainer.adapters.distributed.strategy_check import StrategyCheck
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.models import load_trainable, make_adapter_config, merge_adapter
from services.trainer.domain.progress import REFUSED_SHARE, name_refusal
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.refusals import Refusals, assess_refusals, count_refused, describe_refusals
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult
from services.trainer.ports import RunReporter
from shared.artifacts.models import BaseReference


def prepare_training(job: Job, reporter: RunReporter) -> None:
    """Seed the generators. To be called before the model is loaded: an adapter is drawn then, and TRL seeds later."""
    datasets.disable_progress_bars()
    reporter.on_phase("loading")
    set_seed(job.recipe.seed)


def check_refused(kept: int, refusals: Refusals, recipe: Recipe, reporter: RunReporter) -> None:
    """Report the rows that were left out, if any, and why.

    Raises:
        TrainingFailed: above a fifth, with what to change.
    """
    if refused := count_refused(refusals):
        total = kept + refused
        counts = {name_refusal(reason): float(count) for reason, count in refusals.items()}
        reporter.on_metrics(0, {REFUSED_SHARE: refused / total} | counts)
        within = f"within {recipe.length} tokens {describe_refusals(refusals)}"
        reporter.on_note(f"{refused} of {total} rows ({refused / total:.1%}) were left out: {within}")
    if problem := assess_refusals(kept, refusals, recipe.length):
        raise TrainingFailed(problem)


def run_training_loop(job: Job, reporter: RunReporter, trainer: Any, callback: GuardCallback) -> None:
    """Train to the end of the recipe's steps, or to where a guard ends the run well.

    Where a guard says so, training goes back to the last good checkpoint and on from there.

    Raises:
        TrainingFailed: a guard stopped the run.
        Interrupted: the worker was told to stop; a checkpoint is there.
        StaleClaim: from the reporter.
    """
    _apply_strategy(job, trainer)
    start = job.resume_from
    if start is not None:
        callback.add_earlier_seconds(load_training_seconds(start))
        callback.checkpoints.add(0, start)
    reporter.on_phase("training")
    _train_from(start, trainer, callback)
    while callback.verdict.action == "roll back" and not callback.interrupted:
        _train_from(callback.roll_back(), trainer, callback)
    if callback.verdict.action == "stop":
        raise TrainingFailed(callback.verdict.reason, "guard")
    if callback.interrupted:
        raise Interrupted(f"at step {trainer.state.global_step}")


def _apply_strategy(job: Job, trainer: Any) -> None:
    """Have the trainer use the recipe's parallelism, and check that it does."""
    trainer.remove_callback(PrinterCallback)
    if job.recipe.parallelism.strategy == "fsdp2":
        enable_fsdp2(trainer)
    if job.recipe.parallelism.is_distributed:
        trainer.add_callback(StrategyCheck(job.recipe.parallelism, trainer))


def _train_from(start: Path | None, trainer: Any, callback: GuardCallback) -> None:
    try:
        with translate_broken_sampling():
            trainer.train(resume_from_checkpoint=str(start) if start else None)
    except BrokenSampling as error:
        callback.report_broken_policy(error.detail, trainer.state.global_step)


class BrokenSampling(TrainingFailed):
    """The policy can no longer sample answers."""


@contextmanager
def translate_broken_sampling() -> Iterator[None]:
    """Translate the error of a policy whose weights are no numbers: it fails in sampling, before a guard sees its loss.

    Raises:
        BrokenSampling: in place of torch's message.
    """
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        raise BrokenSampling("the policy's token probabilities are nan: its weights are no longer numbers") from error


def save_policy(
    job: Job,
    reporter: RunReporter,
    trainer: Any,
    callback: GuardCallback,
    refusals: Refusals,
    lineage: Mapping[str, str] | None = None,
) -> TrainingResult:
    """Save the trained chat model as the candidate. `lineage`: as a `TrainingResult` has it."""
    reporter.on_phase("saving")
    if job.recipe.parallelism.is_distributed:
        model = gather_model(job, trainer)
    else:
        model = trainer.accelerator.unwrap_model(trainer.model)
    weights_sha256 = ""
    if is_main_process():
        weights_sha256 = save_trained(model, job)
    wait_for_everyone()
    return summarise_result(trainer, callback, weights_sha256, refusals, lineage)


def save_trained(model: Any, job: Job) -> str:
    """Save the candidate: its adapter alone where others know the base by an address, else whole weights.

    Returns the weights' hash.
    """
    if job.parent_uri is not None and isinstance(model, PeftModel):
        base = BaseReference(job.parent_uri, job.parent_sha256)
        return save_adapter(model, job.parent, base, job.candidate)
    return save_candidate(merge_adapter(model, job.parent), job.parent, job.candidate)


def gather_model(job: Job, trainer: Any) -> Any:
    """Put the whole model together on the first process; None on the others. Every process must take part.

    Raises: TrainingFailed: the weights do not fit the model.
    """
    if job.recipe.parallelism.strategy == "fsdp2":
        weights = gather_full_state_dict(trainer.model_wrapped)
    else:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not is_main_process():
        return None
    unset_hf_deepspeed_config()  # or the empty model would be divided among the processes as it is made
    model = load_trainable(job.recipe, job.parent, weights=job.weights)
    adapter = make_adapter_config(job.recipe, model)
    model = model if adapter is None else get_peft_model(model, adapter)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    untied = [name for name in missing if not name.endswith("lm_head.weight")]
    if untied or unexpected:
        raise TrainingFailed(f"the gathered model lacks {untied[:3]} and has {unexpected[:3]} besides", "error")
    return model


def summarise_result(
    trainer: Any,
    callback: GuardCallback,
    weights_sha256: str,
    refusals: Refusals,
    lineage: Mapping[str, str] | None = None,
) -> TrainingResult:
    """Describe how the run ended."""
    return TrainingResult(
        steps=trainer.state.global_step,
        weights_sha256=weights_sha256,
        summary=callback.outcome,
        pairs=len(trainer.train_dataset),
        refused=count_refused(refusals),
        refused_rows=dict(refusals),
        lineage=dict(lineage or {}),
    )
