"""The method `dpo`: the parent itself is the reference, its log-probabilities computed before the first step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trl import DPOConfig

from services.trainer.adapters.artifacts.dataset import load_pairs
from services.trainer.adapters.distributed.collectives import share
from services.trainer.adapters.methods.arguments import list_arguments
from services.trainer.adapters.methods.dpo_trainer import EpsilonDPOTrainer
from services.trainer.adapters.methods.epsilon import EpsilonDPOCollator
from services.trainer.adapters.methods.guard_callback import Observer
from services.trainer.adapters.methods.models import choose_adapter, load_policy, load_tokenizer
from services.trainer.adapters.methods.pair_scores import can_share
from services.trainer.adapters.methods.training_loop import begin, save_policy, train_through
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job, Trained, TrainingFailed
from services.trainer.ports import Watch
from shared.errors import InvalidRequest


def train_dpo(job: Job, watch: Watch) -> Trained:
    """Train, and save the candidate.

    Raises:
        TrainingFailed: the dataset cannot be used, or a guard stopped the run.
        Interrupted: the worker was told to stop; a checkpoint is there.
        StaleClaim: from the watch.
    """
    begin(job, watch)
    model = load_policy(job.parent)
    observer = Observer(job.recipe, watch)
    trainer = _build_trainer(job, model, observer, before_reference=lambda: watch.on_phase("reference"))
    train_through(job, watch, trainer, observer)
    return save_policy(job, watch, trainer, observer, refused=trainer.refused["train"])


def _build_trainer(
    job: Job, model: Any, observer: Observer, *, before_reference: Callable[[], None]
) -> EpsilonDPOTrainer:
    recipe = job.recipe
    tokenizer = load_tokenizer(job.parent)
    try:
        return EpsilonDPOTrainer(
            model=model,
            args=build_arguments(recipe, job.checkpoints),
            losses=recipe.weighted_losses,
            shares_prefixes=_shares_prefixes(recipe, model),
            before_reference=before_reference,
            data_collator=EpsilonDPOCollator(pad_token_id=tokenizer.pad_token_id, max_length=recipe.max_length),
            train_dataset=share(load_pairs(job.dataset / "train.parquet"), job.checkpoints / "rows"),
            eval_dataset=share(load_pairs(job.dataset / "validation.parquet"), job.checkpoints / "validation_rows")
            if recipe.eval_steps
            else None,
            processing_class=tokenizer,
            peft_config=choose_adapter(recipe, model),
            callbacks=[observer],
        )
    except InvalidRequest as error:
        raise TrainingFailed(f"the dataset cannot be trained on: {error.detail}") from error


def _shares_prefixes(recipe: Recipe, model: Any) -> bool:
    """Not where a model is divided: all parts must go forward equally often, and packs are not equally many."""
    return recipe.prefix_sharing and not recipe.parallelism.is_spread and can_share(model, recipe.max_length)


def build_arguments(recipe: Recipe, checkpoints: Path) -> DPOConfig:
    return DPOConfig(
        **list_arguments(recipe, checkpoints),
        beta=recipe.beta,
        max_length=recipe.max_length,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=recipe.batch_size,
    )
