"""What `rloo`, `grpo` and `ppo` share: the reward model that they climb, and what is told of their answers."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

from services.trainer.adapters.artifacts.dataset import TOOLS, keep_answerable, render_conversation
from services.trainer.adapters.methods.models import check_padding, load_tokenizer
from services.trainer.adapters.methods.reward import cut_behind_end, is_reward_model
from services.trainer.adapters.methods.validation_preference import ValidationPreference
from services.trainer.domain.guards.reward_hacking import DISTINCT_2, LENGTH, calculate_distinct_2
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job, TrainingFailed


def load_reward_model(folder: Path, tokenizer: Any) -> Any:
    """Load the reward model, which must read the policy's tokens.

    Raises:
        TrainingFailed: the folder holds none, or one with another vocabulary.
    """
    if not is_reward_model(folder):
        raise TrainingFailed(f"reward_model: {str(folder)!r} holds no reward model; train one by the method reward")
    if load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise TrainingFailed("reward_model: its vocabulary is not the policy's; train it from the same base")
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    check_padding(tokenizer)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def build_scorer(model: Any, tokenizer: Any, cut_off_penalty: float = 0.0) -> Callable[..., list[float]]:
    """Build what `rloo` and `grpo` ask for the score of its answers, each at the token that ends it.

    It takes `prompts` and `completions`, lists of conversations, and the prompts' `tools` as JSON text, and goes to the
    device of `model` as it is when asked. An answer whose `completion_ids` hold no end was cut off: it is scored at its
    last token, and pays the penalty. The chat template would end it, and it would be worth as much as one that ended
    by itself.
    """
    end = tokenizer.eos_token_id

    def reward_model(
        *,
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]] | None = None,
        tools: list[str | None] | None = None,
        **_: Any,
    ) -> list[float]:
        was_cut = [end not in sampled for sampled in completion_ids or [[end]] * len(completions)]
        rows = [{"prompt": prompt, TOOLS: own} for prompt, own in zip(prompts, tools or repeat(None), strict=False)]
        rendered = (
            render_conversation(row, completion, tokenizer, tokenize=True, return_dict=False)
            for row, completion in zip(rows, completions, strict=True)
        )
        whole = [cut_behind_end(each, end) for each in rendered]
        ids = [each[:-1] if cut and each[-1] == end else each for each, cut in zip(whole, was_cut, strict=True)]
        batch = tokenizer.pad({"input_ids": ids}, padding_side="right", return_tensors="pt").to(model.device)
        with torch.inference_mode():
            scores: list[float] = model(**batch).logits[:, 0].tolist()
        return [score - cut_off_penalty * cut for score, cut in zip(scores, was_cut, strict=True)]

    return reward_model


def keep_short_prompts(prompts: Dataset, tokenizer: Any, recipe: Recipe) -> tuple[Dataset, Counter[str]]:
    """Keep the prompts that leave room for an answer within the recipe's length; returns them and the others' reasons.

    Raises:
        TrainingFailed: no prompt is short enough.
    """
    room = recipe.length - recipe.sampling.max_new_tokens
    short, refusals = keep_answerable(prompts, tokenizer, room)
    if not len(short):
        raise TrainingFailed(f"no prompt of the dataset fits into {room} tokens")
    return short, refusals


def make_validation_preference(job: Job, tokenizer: Any) -> ValidationPreference | None:
    """Make what the recipe's `eval_steps` measure; None without them.

    Raises:
        TrainingFailed: the dataset has no validation split.
    """
    if not job.recipe.eval_steps:
        return None
    return ValidationPreference(job.dataset / "validation.parquet", tokenizer, job.recipe.length)


def calculate_answer_metrics(answers: Sequence[Sequence[int]]) -> dict[str, float]:
    """Calculate the metrics of answers: token ids without padding."""
    return {
        DISTINCT_2[0]: calculate_distinct_2(answers),
        LENGTH[0]: sum(map(len, answers)) / max(len(answers), 1),
    }
