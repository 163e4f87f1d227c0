"""The method `rloo`: sampled answers climb a reward, each against its siblings' mean (Ahmadian et al. 2024)."""

from trl import RLOOConfig, RLOOTrainer

from services.trainer.adapters.methods.online.group_sampling import DescribingTrainer, train_on_groups
from services.trainer.domain.training import Job, TrainingResult
from services.trainer.ports import RunReporter


class DescribingRLOOTrainer(DescribingTrainer, RLOOTrainer):  # type: ignore[misc]  # trl is untyped
    """TRL's trainer, described."""


def train_rloo(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the candidate. Raises: as `services.trainer.domain.training.Train`."""
    return train_on_groups(job, reporter, DescribingRLOOTrainer, RLOOConfig)
