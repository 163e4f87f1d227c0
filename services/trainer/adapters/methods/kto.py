"""The method `kto`: unpaired labels, with the parent as the reference (Ethayarajh et al. 2024)."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor
from trl import KTOConfig, KTOTrainer

from services.trainer.adapters.artifacts.checkpoints import SHARED_ROWS
from services.trainer.adapters.artifacts.dataset import keep_renderable, keep_trainable, load_labels, split_pairs
from services.trainer.adapters.distributed.collectives import share_dataset
from services.trainer.adapters.distributed.streaming import stream_layers
from services.trainer.adapters.methods.arguments import build_config
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.models import (
    choose_base_dtype,
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


class StreamedKTOTrainer(KTOTrainer):  # type: ignore[misc]  # trl is untyped
    """Computes the reference on its device also where the model waits on the host to be divided, and counts each row
    alike."""

    def __init__(self, *args: Any, divides_later: bool, **kwargs: Any) -> None:
        """Prepare the trainer. `divides_later`: the model is whole, and on the host, until training begins."""
        self._divides_later = divides_later
        super().__init__(*args, **kwargs)
        self.current_gradient_accumulation_steps: int = self.args.gradient_accumulation_steps  # per update, later

    # TRL computes it outside autocast, and under FSDP2 on a model that is on the CPU, from rows that are on the GPU.
    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Calculate the parent's log-probabilities of the answers, (B,), and of those of the KL term, if it has any."""
        device = self.accelerator.device
        streamed = stream_layers(model, lambda own: own.to(device)) if self._divides_later else nullcontext()
        with self.accelerator.autocast(), streamed:
            answers_b, kl_b = super().compute_ref_log_probs(model, inputs)
        return answers_b, kl_b

    # TRL takes the mean of a micro-batch, and transformers the mean of an update's micro-batches, however few they are
    # at the end of a pass: their rows would count as many times as much.
    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        """Calculate the loss of a micro-batch such that its rows count for as much as any others."""
        loss, outputs = super()._compute_loss(model, inputs, True)
        if self.model.training:
            loss = loss * (self.current_gradient_accumulation_steps / self.args.gradient_accumulation_steps)
        return (loss, outputs) if return_outputs else loss


def train_kto(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the candidate. A label's epsilon is not part of this loss.

    Raises: as `services.trainer.domain.training.Train`.
    """
    prepare_training(job, reporter)
    recipe, callback = job.recipe, GuardCallback(job.recipe, reporter)
    tokenizer = load_tokenizer(job.parent)
    found = load_labels(job.dataset / "labels.parquet")
    labels, refusals = keep_trainable(found, tokenizer, recipe.length)
    check_refused(len(labels), refusals, recipe, reporter)
    labels = labels.shuffle(seed=recipe.seed)  # the trainer takes them in order
    if len(labels) < recipe.batch_size:
        raise TrainingFailed(f"{len(labels)} labels do not fill a batch of {recipe.batch_size}")
    # The KL term rotates answers within a batch: a single row left over would be compared with itself.
    labels = labels.select(range(len(labels) - len(labels) % recipe.batch_size))
    arguments = build_arguments(recipe, job.checkpoints)  # before the model: ZeRO-3 divides it as it is loaded
    model = load_trainable(recipe, job.parent, choose_base_dtype(recipe, job.parent), job.weights)
    validation = None
    if recipe.eval_steps:
        validation = keep_renderable(split_pairs(job.dataset / "validation.parquet"), tokenizer)
    trainer = StreamedKTOTrainer(
        divides_later=recipe.parallelism.strategy == "fsdp2",
        model=model,
        args=arguments,
        train_dataset=share_dataset(labels, job.checkpoints / SHARED_ROWS),
        eval_dataset=validation and share_dataset(validation, job.checkpoints / "validation_rows"),
        processing_class=tokenizer,
        peft_config=make_adapter_config(recipe, model),
        callbacks=[callback],
    )
    run_training_loop(job, reporter, trainer, callback)
    return save_policy(job, reporter, trainer, callback, refusals)


def build_arguments(recipe: Recipe, checkpoints: Path) -> KTOConfig:
    """Build TRL's configuration; the reference's log-probabilities are computed before the first step."""
    return build_config(
        KTOConfig,
        recipe,
        checkpoints,
        beta=recipe.beta,
        max_length=recipe.length,
        desirable_weight=recipe.desirable_weight,
        undesirable_weight=recipe.undesirable_weight,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=recipe.batch_size,
    )
