"""The method `sft`: imitate users' corrections and praised answers, or the pairs' chosen answers."""

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from services.trainer.adapters.artifacts.dataset import list_chosen, load_answers
from services.trainer.adapters.methods.arguments import list_arguments
from services.trainer.adapters.methods.guard_callback import Observer
from services.trainer.adapters.methods.models import choose_adapter, load_policy, load_tokenizer
from services.trainer.adapters.methods.training_loop import begin, save_policy, train_through
from services.trainer.domain.training import Job, Trained
from services.trainer.ports import Watch


def train_sft(job: Job, watch: Watch) -> Trained:
    """Train, and save the candidate. Only the answers' tokens count; the validation split gives its chosen answers.

    Raises: as `services.trainer.domain.training.Train`.
    """
    begin(job, watch)
    recipe, observer = job.recipe, Observer(job.recipe, watch)
    answers = load_answers(job.dataset, recipe.sft_rows)
    model = load_policy(job.parent)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **list_arguments(recipe, job.checkpoints), max_length=recipe.max_length, completion_only_loss=True
        ),
        train_dataset=answers,
        eval_dataset=Dataset.from_list(list_chosen(job.dataset / "validation.parquet")) if recipe.eval_steps else None,
        processing_class=load_tokenizer(job.parent),
        peft_config=choose_adapter(recipe, model),
        callbacks=[observer],
    )
    train_through(job, watch, trainer, observer)
    return save_policy(job, watch, trainer, observer, refused=len(answers) - len(trainer.train_dataset))
