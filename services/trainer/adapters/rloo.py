"""The method `rloo`: sampled answers climb a reward model, each against its siblings' mean (Ahmadian et al. 2024)."""

from pathlib import Path

from trl import RLOOConfig, RLOOTrainer

from services.trainer.adapters.frozen_dataset import load_prompts
from services.trainer.adapters.observer import Observer
from services.trainer.adapters.policy import choose_adapter, load_policy, load_tokenizer
from services.trainer.adapters.reward_judge import explain_broken_sampling, load_reward_model
from services.trainer.adapters.running import begin, list_arguments, save_policy, train_through
from services.trainer.domain.training import Job, Trained, Watch


def train_rloo(job: Job, watch: Watch) -> Trained:
    """Train, and save the candidate. The parent is the reference.

    Raises: as `services.trainer.domain.training.Train`.
    """
    begin(job, watch)
    recipe, observer = job.recipe, Observer(job.recipe, watch)
    assert recipe.reward_model is not None  # the recipe's check
    tokenizer = load_tokenizer(job.parent, padding_side="left")
    reward_model = load_reward_model(Path(recipe.reward_model), tokenizer)
    model = load_policy(job.parent)
    sampling = recipe.sampling
    trainer = RLOOTrainer(
        model=model,
        reward_funcs=reward_model,
        reward_processing_classes=load_tokenizer(Path(recipe.reward_model)),
        args=RLOOConfig(
            **list_arguments(recipe, job.checkpoints),
            beta=recipe.kl_coefficient,
            num_generations=sampling.answers_per_prompt,
            max_completion_length=sampling.max_new_tokens,
            temperature=sampling.temperature,
        ),
        train_dataset=load_prompts(job.dataset / "train.parquet"),
        processing_class=tokenizer,
        peft_config=choose_adapter(recipe, model),
        callbacks=[observer],
    )
    with explain_broken_sampling():
        train_through(job, watch, trainer, observer)
    return save_policy(job, watch, trainer, observer)
