"""Which reward functions a process lets recipes name."""

from services.trainer.domain.training import RewardRules
from services.trainer.settings import TrainerSettings


def read_reward_rules(settings: TrainerSettings) -> RewardRules:
    """Read what the deployment says of reward functions."""
    return RewardRules(frozenset(filter(None, settings.reward_functions.split(","))), settings.reward_timeout_seconds)
