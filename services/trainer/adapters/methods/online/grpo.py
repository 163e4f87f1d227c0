"""The method `grpo`: sampled answers climb a reward, each against the mean of its group (Shao et al. 2024).

TRL's own choices are these: losses divided by the tokens of the step, rewards by the deviation of their group, no KL,
answers that were cut off are learnt from as if they had ended. Ours are the recipe's.
"""

from trl import GRPOConfig, GRPOTrainer

from services.trainer.adapters.methods.online.group_sampling import DescribingTrainer, train_on_groups
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.ports import RunReporter


class DescribingGRPOTrainer(DescribingTrainer, GRPOTrainer):  # type: ignore[misc]  # trl is untyped
    """TRL's trainer, described."""


def train_grpo(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the candidate. Raises: as `services.trainer.domain.training.Train`."""
    choices = job.recipe.grpo
    return train_on_groups(
        job,
        reporter,
        DescribingGRPOTrainer,
        GRPOConfig,
        loss_type=choices.loss,
        scale_rewards=choices.scale_rewards,
        mask_truncated_completions=choices.mask_cut_off,
        num_iterations=1,
    )
