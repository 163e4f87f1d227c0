"""What `rloo` and `grpo` share: several answers to each prompt are sampled, scored and compared with one another."""

from typing import Any, TypeVar

from transformers import TrainingArguments

from services.trainer.adapters.artifacts.dataset import TOOLS, load_prompts, render_prompt
from services.trainer.adapters.methods.arguments import build_config
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.models import (
    choose_base_dtype,
    load_tokenizer,
    load_trainable,
    make_adapter_config,
)
from services.trainer.adapters.methods.online.reward_model import (
    calculate_answer_metrics,
    keep_short_prompts,
    make_validation_preference,
)
from services.trainer.adapters.methods.online.scoring import open_scorer
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

Config = TypeVar("Config", bound=TrainingArguments)


class GroupCallback(GuardCallback):
    """Can raise the price of KL."""

    trainer: Any

    def scale_kl_cost(self, args: Any, factor: float) -> None:
        """Multiply the price of KL."""
        self.trainer.beta *= factor


class DescribingTrainer:
    """A trainer of TRL that logs distinct-2 of the sampled answers beside what TRL logs of their length, and whose
    policy sees each prompt with its tools."""

    _metrics: dict[str, dict[str, list[Any]]]
    model: Any
    processing_class: Any
    _tools: list[str | None]

    # TRL 1.12.0 takes tools from its configuration, the same for all rows, and passes over what a row says.
    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        """Sample and score as TRL does, with each row's own tools."""
        self._tools = [row.get(TOOLS) for row in inputs]
        return super()._generate_and_score_completions(inputs)  # type: ignore[misc]  # of the trainer beside this class

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Render the prompts as they are served; returns their tokens, and TRL's places for images."""
        rows = ({"prompt": prompt, TOOLS: tools} for prompt, tools in zip(prompts, self._tools, strict=True))
        return [render_prompt(row, self.processing_class, tokenize=True, return_dict=False) for row in rows], None, {}

    # TRL 1.12.0 samples and logs lengths only; the tokens of the answers are seen nowhere else.
    def _generate(self, prompts: list[Any]) -> Any:
        """Sample as TRL does, and log how varied the answers are."""
        sampled = super()._generate(prompts)  # type: ignore[misc]  # of the trainer beside this class
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][DISTINCT_2[0]].append(calculate_answer_metrics(sampled[1])[DISTINCT_2[0]])
        return sampled


def train_on_groups(job: Job, reporter: RunReporter, kind: Any, config: type[Config], **own: Any) -> TrainingResult:
    """Train, and save the candidate. The parent is the reference.

    Args:
        kind, config: TRL's trainer, described, and its configuration.
        own: arguments that only this method has.

    Raises: as `services.trainer.domain.training.Train`.
    """
    prepare_training(job, reporter)
    recipe = job.recipe
    tokenizer = load_tokenizer(job.parent, padding_side="left")
    callback = GroupCallback(recipe, reporter, make_validation_preference(job, tokenizer))
    short, refusals = keep_short_prompts(load_prompts(job.dataset / "train.parquet"), tokenizer, recipe)
    check_refused(len(short), refusals, recipe, reporter)
    arguments = _build_arguments(job, config, **own)
    with open_scorer(job, tokenizer, arguments.device) as scorer:
        model = load_trainable(recipe, job.parent, choose_base_dtype(recipe, job.parent))
        trainer = kind(
            model=model,
            reward_funcs=scorer.score,
            args=arguments,
            train_dataset=short,
            processing_class=tokenizer,
            peft_config=make_adapter_config(recipe, model),
            callbacks=[callback],
        )
        callback.trainer = trainer
        run_training_loop(job, reporter, trainer, callback)
    return save_policy(job, reporter, trainer, callback, refusals, scorer.lineage)


def _build_arguments(job: Job, config: type[Config], **own: Any) -> Config:
    recipe, sampling = job.recipe, job.recipe.sampling
    return build_config(
        config,
        recipe,
        job.checkpoints,
        eval_strategy="no",  # TRL's evaluation samples answers, and tells nothing about preferences
        beta=recipe.kl_coefficient or (MEASURED_ONLY if recipe.guards.max_kl else 0.0),
        num_generations=sampling.answers_per_prompt,
        max_completion_length=sampling.max_new_tokens,
        temperature=sampling.temperature,
        **own,
    )
