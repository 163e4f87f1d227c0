"""The method `dpo`: the parent itself is the reference, its log-probabilities computed before the first step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trl import DPOConfig

from services.trainer.adapters.artifacts.checkpoints import SHARED_ROWS
from services.trainer.adapters.artifacts.dataset import load_pairs
from services.trainer.adapters.distributed.collectives import share_dataset
from services.trainer.adapters.methods.arguments import build_config
from services.trainer.adapters.methods.dpo_trainer import EpsilonDPOTrainer
from services.trainer.adapters.methods.epsilon import EpsilonDPOCollator
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.likelihoods.pair_scores import can_share
from services.trainer.adapters.methods.models import (
    choose_base_dtype,
    compile_layers,
    load_tokenizer,
    load_trainable,
    make_adapter_config,
)
from services.trainer.adapters.methods.training_loop import (
    check_refused,
    prepare_training,
    run_training_loop,
    save_policy,
)
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job, TrainingFailed, TrainingResult
from services.trainer.ports import RunReporter
from shared.errors import InvalidRequest


def train_dpo(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the candidate.

    Raises:
        TrainingFailed: the dataset cannot be used, or a guard stopped the run.
        Interrupted: the worker was told to stop; a checkpoint is there.
        StaleClaim: from the reporter.
    """
    prepare_training(job, reporter)
    arguments = build_arguments(job.recipe, job.checkpoints)  # before the model: ZeRO-3 divides it as it is loaded
    model = load_trainable(job.recipe, job.parent, choose_base_dtype(job.recipe, job.parent), job.weights)
    shares = _shares_prefixes(job.recipe, model)
    compile_layers(job.recipe, model)
    callback = GuardCallback(job.recipe, reporter)
    trainer = _build_trainer(
        job, arguments, model, callback, shares, before_reference=lambda: reporter.on_phase("reference")
    )
    refusals = trainer.refusals["train"]
    check_refused(len(trainer.train_dataset), refusals, job.recipe, reporter)
    run_training_loop(job, reporter, trainer, callback)
    return save_policy(job, reporter, trainer, callback, refusals)


def _build_trainer(
    job: Job,
    arguments: DPOConfig,
    model: Any,
    callback: GuardCallback,
    shares_prefixes: bool,
    *,
    before_reference: Callable[[], None],
) -> EpsilonDPOTrainer:
    recipe = job.recipe
    tokenizer = load_tokenizer(job.parent)
    try:
        return EpsilonDPOTrainer(
            model=model,
            args=arguments,
            losses=recipe.weighted_losses,
            shares_prefixes=shares_prefixes,
            divides_later=recipe.parallelism.strategy == "fsdp2",
            before_reference=before_reference,
            data_collator=EpsilonDPOCollator(pad_token_id=tokenizer.pad_token_id, max_length=recipe.length),
            train_dataset=share_dataset(load_pairs(job.dataset / "train.parquet"), job.checkpoints / SHARED_ROWS),
            eval_dataset=share_dataset(
                load_pairs(job.dataset / "validation.parquet"), job.checkpoints / "validation_rows"
            )
            if recipe.eval_steps
            else None,
            processing_class=tokenizer,
            peft_config=make_adapter_config(recipe, model),
            callbacks=[callback],
        )
    except InvalidRequest as error:
        raise TrainingFailed(f"the dataset cannot be trained on: {error.detail}") from error


def _shares_prefixes(recipe: Recipe, model: Any) -> bool:
    """Not where a model is divided: all parts must go forward equally often, and packs are not equally many."""
    return recipe.prefix_sharing and not recipe.parallelism.is_distributed and can_share(model, recipe.length)


def build_arguments(recipe: Recipe, checkpoints: Path) -> DPOConfig:
    """Build TRL's configuration; the reference's log-probabilities are computed before the first step."""
    return build_config(
        DPOConfig,
        recipe,
        checkpoints,
        beta=recipe.beta,
        max_length=recipe.length,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=recipe.batch_size,
    )
