"""What a sampled answer is worth: to a reward model, or to a reward function of an installed package."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from services.trainer.adapters.methods.models import load_tokenizer
from services.trainer.adapters.methods.online.reward_model import build_scorer, load_reward_model
from services.trainer.adapters.rewards.functions import find_reward_function
from services.trainer.adapters.rewards.process import RewardProcess
from services.trainer.domain.recipe.reward_functions import explain_unlisted
from services.trainer.domain.training import Job, TrainingFailed
from shared.artifacts import calculate_weights_sha256


@dataclass(frozen=True)
class Scorer:
    """What scores the answers of a run."""

    score: Callable[..., list[float]]
    """From `prompts`, `completions` and `completion_ids`, as TRL gives them, to a reward for each answer."""
    lineage: Mapping[str, str]
    """Which it is."""


@contextmanager
def open_scorer(job: Job, tokenizer: Any, device: torch.device) -> Iterator[Scorer]:
    """Open what the recipe climbs: its reward function, else its reward model, on `device`.

    An answer that was cut off pays the recipe's penalty in both.

    Raises:
        TrainingFailed: it cannot be used, or the function is not on the deployment's list.
    """
    if (name := job.recipe.reward_function) is None:
        yield _load_model(job, tokenizer, device)
        return
    if name not in job.rewards.functions:
        raise TrainingFailed(f"reward_function: {explain_unlisted(name)}")
    function = find_reward_function(name)
    lineage = {"reward_function": name, "reward_function_sha256": function.sha256}
    with RewardProcess(function, job.rewards) as process:
        yield Scorer(_build_function_scorer(process, tokenizer, job.recipe.sampling.cut_off_penalty), lineage)


def _load_model(job: Job, tokenizer: Any, device: torch.device) -> Scorer:
    assert job.recipe.reward_model is not None  # the recipe's check
    folder = Path(job.recipe.reward_model)
    model = load_reward_model(folder, tokenizer).to(device).eval()
    score = build_scorer(model, load_tokenizer(folder), job.recipe.sampling.cut_off_penalty)
    return Scorer(score, describe_reward_model(folder))


def describe_reward_model(folder: Path) -> dict[str, str]:
    """Describe a reward model for the lineage of what climbed it."""
    return {"reward_model_sha256": calculate_weights_sha256(folder)}


def _build_function_scorer(
    process: RewardProcess, tokenizer: Any, cut_off_penalty: float
) -> Callable[..., list[float]]:
    end = tokenizer.eos_token_id

    def reward_function(
        *, prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        rewards = process.score(prompts, completions)
        return [
            reward - cut_off_penalty * (end not in sampled)
            for reward, sampled in zip(rewards, completion_ids, strict=True)
        ]

    return reward_function
