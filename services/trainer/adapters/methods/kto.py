"""The method `kto`: unpaired labels, with the parent as the reference (Ethayarajh et al. 2024)."""

from pathlib import Path

from trl import KTOConfig, KTOTrainer

from services.trainer.adapters.artifacts.dataset import load_labels, split_pairs
from services.trainer.adapters.distributed.collectives import share
from services.trainer.adapters.methods.arguments import list_arguments
from services.trainer.adapters.methods.guard_callback import Observer
from services.trainer.adapters.methods.models import choose_adapter, load_policy, load_tokenizer
from services.trainer.adapters.methods.training_loop import begin, save_policy, train_through
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job, Trained, TrainingFailed
from services.trainer.ports import Watch


def train_kto(job: Job, watch: Watch) -> Trained:
    """Train, and save the candidate. A label's epsilon is not part of this loss.

    Raises: as `services.trainer.domain.training.Train`.
    """
    begin(job, watch)
    recipe, observer = job.recipe, Observer(job.recipe, watch)
    labels = load_labels(job.dataset / "labels.parquet").shuffle(seed=recipe.seed)  # the trainer takes them in order
    if len(labels) < recipe.batch_size:
        raise TrainingFailed(f"{len(labels)} labels do not fill a batch of {recipe.batch_size}")
    # The KL term rotates answers within a batch: a single row left over would be compared with itself.
    labels = labels.select(range(len(labels) - len(labels) % recipe.batch_size))
    model = load_policy(job.parent)
    arguments = build_arguments(recipe, job.checkpoints)
    validation = split_pairs(job.dataset / "validation.parquet") if recipe.eval_steps else None
    trainer = KTOTrainer(
        model=model,
        args=arguments,
        train_dataset=share(labels, job.checkpoints / "rows"),
        eval_dataset=validation and share(validation, job.checkpoints / "validation_rows"),
        processing_class=load_tokenizer(job.parent),
        peft_config=choose_adapter(recipe, model),
        callbacks=[observer],
    )
    train_through(job, watch, trainer, observer)
    return save_policy(job, watch, trainer, observer, refused=len(labels) - len(trainer.train_dataset))


def build_arguments(recipe: Recipe, checkpoints: Path) -> KTOConfig:
    return KTOConfig(
        **list_arguments(recipe, checkpoints),
        beta=recipe.beta,
        max_length=recipe.max_length,
        desirable_weight=recipe.desirable_weight,
        undesirable_weight=recipe.undesirable_weight,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=recipe.batch_size,
    )
