"""How long the rows are that a method trains on, for `services.trainer.domain.planning.sizing`."""

from typing import Any

from datasets import Dataset

from services.trainer.adapters.artifacts.dataset import (
    ANSWER_COLUMNS,
    keep_renderable,
    load_answers,
    load_labels,
    load_pairs,
    load_prompts,
    render_conversation,
    render_prompt,
)
from services.trainer.adapters.artifacts.model_size import read_context, read_model_size
from services.trainer.adapters.distributed.hardware import find_devices
from services.trainer.adapters.methods.models import load_tokenizer
from services.trainer.domain.planning.sizing import Sizes
from services.trainer.domain.recipe.sections import SAMPLING_METHODS
from services.trainer.domain.training import Job
from shared.errors import InvalidRequest

AS_TOKENS: dict[str, Any] = {"tokenize": True, "return_dict": False}


def measure_sizes(job: Job) -> Sizes:
    """Measure the rows in tokens, the model and the machine. Raises: TrainingFailed: the dataset cannot be read."""
    try:
        model = read_model_size(job.parent)
    except InvalidRequest:  # a model that does not say its size is not held against the memory
        model = None
    return Sizes(measure_lengths(job), model, find_devices(job.recipe.parallelism.here), read_context(job.parent))


def measure_lengths(job: Job) -> list[int]:
    """Count the tokens of each row: the prompt and its longer answer, or the prompt and room for a sampled one.

    Rows that the chat template cannot render are left out.
    """
    tokenizer, sampling = load_tokenizer(job.parent), job.recipe.sampling
    is_sampled = job.recipe.method in SAMPLING_METHODS
    rows = keep_renderable(_load_rows(job), tokenizer)
    if is_sampled:
        return [len(render_prompt(row, tokenizer, **AS_TOKENS)) + sampling.max_new_tokens for row in rows]
    return [max(_count_sides(row, tokenizer)) for row in rows]


def _load_rows(job: Job) -> Dataset:
    match job.recipe.method:
        case "sft":
            return load_answers(job.dataset, job.recipe.sft_rows)
        case "kto":
            return load_labels(job.dataset / "labels.parquet")
        case "rloo" | "grpo" | "ppo":
            return load_prompts(job.dataset / "train.parquet")
        case _:
            return load_pairs(job.dataset / "train.parquet")


def _count_sides(row: dict[str, Any], tokenizer: Any) -> list[int]:
    answers = [row[column] for column in ANSWER_COLUMNS if row.get(column)]
    return [len(render_conversation(row, answer, tokenizer, **AS_TOKENS)) for answer in answers]
