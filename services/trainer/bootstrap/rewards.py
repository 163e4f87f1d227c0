"""Which reward functions a process lets recipes name."""

from services.trainer.domain.training import RewardRules
from services.trainer.settings import TrainerSettings


def read_reward_rules(settings: TrainerSettings) -> RewardRules:
    """Read what the deployment says of reward functions."""
    functions, readable, writable = (
        tuple(filter(None, listed.split(",")))
        for listed in (settings.reward_functions, settings.reward_readable_folders, settings.reward_writable_folders)
    )
    return RewardRules(frozenset(functions), settings.reward_timeout_seconds, readable, writable)
