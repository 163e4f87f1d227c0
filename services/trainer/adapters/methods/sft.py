"""The method `sft`: imitate users' corrections and praised answers, or the pairs' chosen answers."""

from typing import Any

from datasets import Dataset
from trl import SFTConfig

from services.trainer.adapters.artifacts.dataset import (
    keep_renderable,
    keep_trainable,
    list_chosen,
    load_answers,
    make_dataset,
)
from services.trainer.adapters.methods.arguments import build_config
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.models import (
    choose_base_dtype,
    compile_layers,
    load_tokenizer,
    load_trainable,
    make_adapter_config,
)
from services.trainer.adapters.methods.packed_sft import PackedSFTTrainer
from services.trainer.adapters.methods.training_loop import (
    check_refused,
    prepare_training,
    run_training_loop,
    save_policy,
)
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.ports import RunReporter


def train_sft(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the candidate. Only the answers' tokens count; the validation split gives its chosen answers.

    Raises: as `services.trainer.domain.training.Train`.
    """
    prepare_training(job, reporter)
    recipe, callback = job.recipe, GuardCallback(job.recipe, reporter)
    answers = load_answers(job.dataset, recipe.sft_rows)
    tokenizer = load_tokenizer(job.parent)
    kept, refusals = keep_trainable(answers, tokenizer, recipe.length)
    check_refused(len(kept), refusals, recipe, reporter)
    arguments = build_config(SFTConfig, recipe, job.checkpoints, max_length=recipe.length, completion_only_loss=True)
    model = load_trainable(recipe, job.parent, choose_base_dtype(recipe, job.parent), job.weights)
    trainer = PackedSFTTrainer(
        packs=not recipe.parallelism.is_distributed,
        model=model,
        args=arguments,
        train_dataset=kept,
        eval_dataset=_load_validation(job, tokenizer) if recipe.eval_steps else None,
        processing_class=tokenizer,
        peft_config=make_adapter_config(recipe, model),
        callbacks=[callback],
    )
    compile_layers(recipe, trainer.model)
    run_training_loop(job, reporter, trainer, callback)
    return save_policy(job, reporter, trainer, callback, refusals)


def _load_validation(job: Job, tokenizer: Any) -> Dataset:
    return keep_renderable(make_dataset(list_chosen(job.dataset / "validation.parquet")), tokenizer)
