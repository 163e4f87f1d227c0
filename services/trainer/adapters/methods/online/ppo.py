"""The method `ppo`: sampled answers climb a reward model, with a value model of its own (Ziegler et al. 2019)."""

import copy
from itertools import takewhile
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel
from trl.experimental.ppo import PPOConfig

from services.trainer.adapters.artifacts.dataset import load_prompts, render_prompt
from services.trainer.adapters.methods.arguments import build_config
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.models import load_tokenizer, load_trainable, make_adapter_config
from services.trainer.adapters.methods.online.ppo_trainer import Finished, ResumablePPOTrainer
from services.trainer.adapters.methods.online.reward_model import (
    calculate_answer_metrics,
    keep_short_prompts,
    load_reward_model,
    make_validation_preference,
)
from services.trainer.adapters.methods.online.scoring import describe_reward_model
from services.trainer.adapters.methods.training_loop import (
    check_refused,
    prepare_training,
    run_training_loop,
    save_trained,
    summarise_result,
)
from services.trainer.domain.guards.kl import next_kl_coefficient
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.ports import RunReporter

REFERENCE = "ref"
"""Name of the frozen adapter, as TRL's other trainers have it."""


class PPOCallback(GuardCallback):
    """Shows the guards a `loss` as other methods log it, and adapts the KL coefficient to its target."""

    trainer: ResumablePPOTrainer

    def __init__(self, job: Job, reporter: RunReporter, tokenizer: Any) -> None:
        super().__init__(job.recipe, reporter, make_validation_preference(job, tokenizer))
        self._target = job.recipe.target_kl
        self._ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
        self._answers: list[list[int]] = []

    def record_answers(self, policy: Any) -> None:
        """Have the policy's answers described in what is logged next: TRL shows them to nobody."""
        generate = policy.generate

        def generate_and_remember(*, input_ids: Any, **kwargs: Any) -> Any:
            output = generate(input_ids=input_ids, **kwargs)
            sampled = output.sequences[:, input_ids.shape[1] :].tolist()
            self._answers += [list(takewhile(lambda token: token not in self._ends, answer)) for answer in sampled]
            return output

        policy.generate = generate_and_remember

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on from where the checkpoint was, if there is one."""
        self.trainer.resume(state)
        super().on_train_begin(args, state, control, **kwargs)
        self.trainer.restore_generators()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Add a `loss` and the answers' figures to TRL's log, judge it, and adapt the KL coefficient."""
        logs = dict(logs or {})
        if "objective/kl" in logs:
            added = {"loss": logs["loss/policy_avg"], "kl_coefficient": args.kl_coef}
            added |= calculate_answer_metrics(self._answers)
            self._answers.clear()
            state.log_history[-1].update(added)  # for a run that resumes
            logs |= added
        super().on_log(args, state, control, logs, **kwargs)
        if self._target is not None and "objective/kl" in logs:
            args.kl_coef = next_kl_coefficient(args.kl_coef, logs["objective/kl"], target=self._target)

    def scale_kl_cost(self, args: Any, factor: float) -> None:
        """Multiply the KL coefficient."""
        args.kl_coef *= factor

    def _end(self, control: Any) -> None:
        raise Finished

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the checkpoint, and end a run there that was told to stop."""
        super().on_save(args, state, control, **kwargs)
        if self.interrupted:
            raise Finished


def train_ppo(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the candidate. The parent is the reference; the value model starts from the reward model.

    Raises: as `services.trainer.domain.training.Train`.
    """
    prepare_training(job, reporter)
    tokenizer = load_tokenizer(job.parent, padding_side="left")
    callback = PPOCallback(job, reporter, tokenizer)
    prompts = load_prompts(job.dataset / "train.parquet")
    short, refusals = keep_short_prompts(prompts, tokenizer, job.recipe)
    check_refused(len(short), refusals, job.recipe, reporter)
    trainer = _build_trainer(job, tokenizer, short, callback)
    callback.trainer = trainer
    callback.record_answers(trainer.policy_model)
    run_training_loop(job, reporter, trainer, callback)
    reporter.on_phase("saving")
    lineage = describe_reward_model(Path(job.recipe.reward_model or ""))
    policy = trainer.accelerator.unwrap_model(trainer.model).policy
    return summarise_result(trainer, callback, save_trained(policy, job), refusals, lineage)


def _build_trainer(job: Job, tokenizer: Any, prompts: Dataset, callback: PPOCallback) -> ResumablePPOTrainer:
    recipe = job.recipe
    assert recipe.reward_model is not None  # the recipe's check
    reward_model = load_reward_model(Path(recipe.reward_model), tokenizer)
    model = load_trainable(recipe, job.parent)
    return ResumablePPOTrainer(
        args=build_arguments(recipe, job.checkpoints, keep_reference(model)),
        processing_class=tokenizer,
        model=model,
        ref_model=None,
        reward_model=reward_model,
        value_model=copy.deepcopy(reward_model),
        train_dataset=tokenize_prompts(prompts, tokenizer, recipe),
        peft_config=make_adapter_config(recipe, model),
        callbacks=[callback],
    )


def keep_reference(model: Any) -> str | None:
    """Keep a frozen copy of a parent's adapter; returns its name, None where the parent is the base alone."""
    if not isinstance(model, PeftModel):
        return None
    model.add_adapter(REFERENCE, copy.deepcopy(model.peft_config["default"]))
    own = model.state_dict()
    frozen = {name: own[name.replace(f".{REFERENCE}.", ".default.")] for name in own if f".{REFERENCE}." in name}
    model.load_state_dict(frozen, strict=False)
    model.set_adapter("default")
    return REFERENCE


def build_arguments(recipe: Recipe, checkpoints: Path, reference: str | None = None) -> PPOConfig:
    """Build TRL's configuration. `reference`: the adapter that is the reference, if it is one."""
    sampling = recipe.sampling
    return build_config(
        PPOConfig,
        recipe,
        checkpoints,
        eval_strategy="no",  # TRL's evaluation samples answers, and tells nothing about preferences
        total_episodes=recipe.steps * recipe.batch_size * recipe.gradient_accumulation_steps,
        response_length=sampling.max_new_tokens,
        temperature=sampling.temperature,
        stop_token="eos",
        missing_eos_penalty=sampling.cut_off_penalty,
        kl_coef=recipe.kl_coefficient,
        ref_adapter_name=reference,
        num_sample_generations=0,
        local_rollout_forward_batch_size=recipe.batch_size,
    )


def tokenize_prompts(prompts: Dataset, tokenizer: Any, recipe: Recipe) -> Dataset:
    """Tokenize prompts as `input_ids`, each so often that they fill a batch."""
    ids = [render_prompt(row, tokenizer, tokenize=True, return_dict=False) for row in prompts]
    batch = recipe.batch_size * recipe.gradient_accumulation_steps
    return Dataset.from_dict({"input_ids": ids * -(-batch // len(ids))})
