"""The method `rloo`: sampled answers climb a reward model, each against its siblings' mean (Ahmadian et al. 2024)."""

from pathlib import Path
from typing import Any

from trl import RLOOConfig, RLOOTrainer

from services.trainer.adapters.artifacts.dataset import load_prompts
from services.trainer.adapters.methods.arguments import build_config
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.models import load_tokenizer, load_trainable, make_adapter_config
from services.trainer.adapters.methods.reward_model import (
    build_scorer,
    calculate_answer_metrics,
    keep_short_prompts,
    load_reward_model,
    make_validation_preference,
)
from services.trainer.adapters.methods.training_loop import (
    check_refused,
    prepare_training,
    run_training_loop,
    save_policy,
)
from services.trainer.domain.guards.reward_hacking import DISTINCT_2
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.ports import RunReporter

MEASURED_ONLY = 1e-9
"""A KL cost too small to matter: TRL measures no KL without one."""


class RLOOCallback(GuardCallback):
    """Can raise the price of KL."""

    trainer: RLOOTrainer

    def scale_kl_cost(self, args: Any, factor: float) -> None:
        """Multiply the price of KL."""
        self.trainer.beta *= factor


class DescribingRLOOTrainer(RLOOTrainer):  # type: ignore[misc]  # trl is untyped
    """Logs distinct-2 of the sampled answers beside what TRL logs of their length."""

    # TRL 1.12.0 samples and logs lengths only; the tokens of the answers are seen nowhere else.
    def _generate(self, prompts: list[Any]) -> Any:
        """Sample as TRL does, and log how varied the answers are."""
        sampled = super()._generate(prompts)
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][DISTINCT_2[0]].append(calculate_answer_metrics(sampled[1])[DISTINCT_2[0]])
        return sampled


def train_rloo(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the candidate. The parent is the reference.

    Raises: as `services.trainer.domain.training.Train`.
    """
    prepare_training(job, reporter)
    recipe = job.recipe
    assert recipe.reward_model is not None  # the recipe's check
    tokenizer = load_tokenizer(job.parent, padding_side="left")
    callback = RLOOCallback(recipe, reporter, make_validation_preference(job, tokenizer))
    reward_model = load_reward_model(Path(recipe.reward_model), tokenizer)
    model = load_trainable(recipe, job.parent)
    sampling = recipe.sampling
    prompts = load_prompts(job.dataset / "train.parquet")
    short, refusals = keep_short_prompts(prompts, tokenizer, recipe)
    check_refused(len(short), refusals, recipe, reporter)
    trainer = DescribingRLOOTrainer(
        model=model,
        reward_funcs=build_scorer(reward_model, load_tokenizer(Path(recipe.reward_model)), sampling.cut_off_penalty),
        args=build_config(
            RLOOConfig,
            recipe,
            job.checkpoints,
            eval_strategy="no",  # TRL's evaluation samples answers, and tells nothing about preferences
            beta=recipe.kl_coefficient or (MEASURED_ONLY if recipe.guards.max_kl else 0.0),
            num_generations=sampling.answers_per_prompt,
            max_completion_length=sampling.max_new_tokens,
            temperature=sampling.temperature,
        ),
        train_dataset=short,
        processing_class=tokenizer,
        peft_config=make_adapter_config(recipe, model),
        callbacks=[callback],
    )
    callback.trainer = trainer
    reward_model.to(trainer.accelerator.device).eval()
    run_training_loop(job, reporter, trainer, callback)
    return save_policy(job, reporter, trainer, callback, refusals)
