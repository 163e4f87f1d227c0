"""The method `ppo`: sampled answers climb a reward model, with a value model of its own (Ziegler et al. 2019).

TRL's PPO trainer neither resumes nor heeds a request to stop, so a run that loses its worker starts over, and what ends
a run early comes out of its loop as an exception.
"""

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer

from services.trainer.adapters.candidate import save_candidate
from services.trainer.adapters.frozen_dataset import load_prompts
from services.trainer.adapters.observer import Observer
from services.trainer.adapters.policy import choose_adapter, load_policy, load_tokenizer, merge
from services.trainer.adapters.reward_judge import explain_broken_sampling, load_reward_model
from services.trainer.adapters.running import begin, list_arguments, sum_up
from services.trainer.domain.kl_control import next_kl_coefficient
from services.trainer.domain.recipe import Recipe
from services.trainer.domain.training import Interrupted, Job, Trained, TrainingFailed, Watch


class Finished(Exception):
    """A guard ended the run well."""


class PPOObserver(Observer):
    """Shows the guards a `loss` as other methods log it, and adapts the KL coefficient to its target."""

    def __init__(self, recipe: Recipe, watch: Watch) -> None:
        super().__init__(recipe, watch)
        self._target = recipe.target_kl

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = dict(logs or {})
        if "objective/kl" in logs:
            logs |= {"loss": logs["loss/policy_avg"], "kl_coefficient": args.kl_coef}
        super().on_log(args, state, control, logs, **kwargs)
        if self.verdict.action == "stop":
            raise TrainingFailed(self.verdict.reason)
        if self.verdict.action == "finish":
            raise Finished
        if self._target is not None and "objective/kl" in logs:
            args.kl_coef = next_kl_coefficient(args.kl_coef, logs["objective/kl"], target=self._target)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if self.interrupted:
            raise Interrupted(f"at step {state.global_step}")


def train_ppo(job: Job, watch: Watch) -> Trained:
    """Train, and save the candidate. The parent is the reference; the value model starts from the reward model.

    Raises: as `services.trainer.domain.training.Train`.
    """
    begin(job, watch)
    observer = PPOObserver(job.recipe, watch)
    trainer = _build_trainer(job, observer)
    trainer.remove_callback(PrinterCallback)
    watch.on_phase("training")
    with suppress(Finished), explain_broken_sampling():
        trainer.train()
    watch.on_phase("saving")
    merged = merge(trainer.accelerator.unwrap_model(trainer.model).policy, job.parent)
    return sum_up(trainer, observer, save_candidate(merged, job.parent, job.candidate))


def _build_trainer(job: Job, observer: PPOObserver) -> PPOTrainer:
    recipe = job.recipe
    assert recipe.reward_model is not None  # the recipe's check
    tokenizer = load_tokenizer(job.parent, padding_side="left")
    reward_model = load_reward_model(Path(recipe.reward_model), tokenizer)
    model = load_policy(job.parent)
    return PPOTrainer(
        args=build_arguments(recipe, job.checkpoints),
        processing_class=tokenizer,
        model=model,
        ref_model=None,
        reward_model=reward_model,
        value_model=copy.deepcopy(reward_model),
        train_dataset=tokenize_prompts(load_prompts(job.dataset / "train.parquet"), tokenizer, recipe),
        peft_config=choose_adapter(recipe, model),
        callbacks=[observer],
    )


def build_arguments(recipe: Recipe, checkpoints: Path) -> PPOConfig:
    sampling = recipe.sampling
    shared = list_arguments(recipe, checkpoints) | {"save_strategy": "no"}
    return PPOConfig(
        **shared,
        total_episodes=recipe.max_steps * recipe.batch_size * recipe.gradient_accumulation_steps,
        response_length=sampling.max_new_tokens,
        temperature=sampling.temperature,
        stop_token="eos",
        missing_eos_penalty=sampling.cut_off_penalty,
        kl_coef=recipe.kl_coefficient,
        num_sample_generations=0,
        local_rollout_forward_batch_size=recipe.batch_size,
    )


def tokenize_prompts(prompts: Dataset, tokenizer: Any, recipe: Recipe) -> Dataset:
    """Prompts as `input_ids`, without those that leave no room for an answer, and enough of them for a batch.

    Raises:
        TrainingFailed: no prompt is short enough.
    """
    room = recipe.max_length - recipe.sampling.max_new_tokens
    ids = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=True, return_dict=False)
        for row in prompts
    ]
    short = [prompt for prompt in ids if len(prompt) <= room]
    if not short:
        raise TrainingFailed(f"no prompt of the dataset fits into {room} tokens")
    batch = recipe.batch_size * recipe.gradient_accumulation_steps
    return Dataset.from_dict({"input_ids": short * -(-batch // len(short))})
