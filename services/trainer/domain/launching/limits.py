"""What a deployment lets a run take of an engine: machines, hours, money, and how often it may be evicted."""

import msgspec

from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import Part, PositiveFloat, PositiveInt
from services.trainer.domain.training import TrainingFailed

HOUR = 3600.0
SHORTEST_START = 60.0
"""Seconds; for less nobody is asked for machines."""
RESERVED_SHARE, LONGEST_RESERVE = 0.1, 900.0
"""Of a start's time, and at most so many seconds: for storing what it has learned."""


class Limits(Part, frozen=True, kw_only=True):
    """What one run may take, over all its starts."""

    max_instances: PositiveInt = 1
    max_hours: PositiveFloat = 24.0
    """From its first start."""
    max_cost: PositiveFloat | None = None
    """In whatever money `cost_per_instance_hour` is in. None: any."""
    cost_per_instance_hour: PositiveFloat | None = None
    max_evictions: int = 10
    """More than these fail the run."""
    max_quota_wait_minutes: PositiveFloat = 60.0
    """How long a run waits for an engine that has no room."""


def calculate_allowed_seconds(limits: Limits, instances: int) -> float:
    """Calculate how long a run may go on, by hours and by money, in seconds from its first start.

    Raises:
        TrainingFailed: it asks for more machines than there may be.
    """
    if instances > limits.max_instances:
        raise TrainingFailed(f"the recipe asks for {instances} machines, and {limits.max_instances} are allowed")
    seconds = limits.max_hours * HOUR
    if limits.max_cost is not None and limits.cost_per_instance_hour is not None:
        seconds = min(seconds, limits.max_cost / (limits.cost_per_instance_hour * instances) * HOUR)
    return seconds


def calculate_reserve(seconds: float) -> float:
    """Calculate how many seconds before its machines are taken back a training has to end."""
    return min(RESERVED_SHARE * seconds, LONGEST_RESERVE)


def limit_budget(recipe: Recipe, trained_seconds: float, seconds_left: float) -> Recipe:
    """Return the recipe with a budget that ends it, with what it has learned, while there is time to store that.

    A ladder's stages do not heed it: they are told to stop, and save a checkpoint.

    Args:
        trained_seconds: of training in the attempts before, which a budget counts too.
        seconds_left: until the machines are taken back.
    """
    minutes = max(trained_seconds + seconds_left - calculate_reserve(seconds_left), 1.0) / 60
    own = recipe.budget.max_minutes
    budget = msgspec.structs.replace(recipe.budget, max_minutes=minutes if own is None else min(own, minutes))
    return msgspec.structs.replace(recipe, budget=budget)


def explain_overrun(limits: Limits, instances: int, seconds: float) -> str | None:
    """Explain which limit a run that has gone on for so long is beyond; None: none."""
    if seconds <= calculate_allowed_seconds(limits, instances):
        return None
    if seconds > limits.max_hours * HOUR:
        return f"it has had the {limits.max_hours:g} hours that it may have"
    return f"it has cost the {limits.max_cost:g} that it may cost"
