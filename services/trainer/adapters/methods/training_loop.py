"""What every method does the same way: arguments, training from a checkpoint or from the start, saving the outcome."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from peft import get_peft_model
from transformers import PrinterCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from services.trainer.adapters.artifacts.candidate import save_candidate
from services.trainer.adapters.artifacts.checkpoints import load_seconds
from services.trainer.adapters.distributed.collectives import is_first, put_together, take_up_fsdp, wait_for_all
from services.trainer.adapters.distributed.strategy_check import EngagementCheck
from services.trainer.adapters.methods.guard_callback import Observer
from services.trainer.adapters.methods.models import choose_adapter, load_policy, merge
from services.trainer.domain.training import Interrupted, Job, Trained, TrainingFailed
from services.trainer.ports import Watch


def begin(job: Job, watch: Watch) -> None:
    """To be called before the model is loaded: an adapter is drawn at random, and trainers seed only after that."""
    datasets.disable_progress_bars()
    watch.on_phase("loading")
    set_seed(job.recipe.seed)


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
