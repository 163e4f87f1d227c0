"""What a run may cost."""

from services.trainer.domain.recipe_part import Part, PositiveFloat
from shared.errors import FieldError


class Budget(Part, frozen=True, kw_only=True):
    """A run that has used it up ends there, and keeps what it learned."""

    max_minutes: PositiveFloat | None = None
    """Of training, over all attempts. None: any."""
    max_cost: PositiveFloat | None = None
    """In whatever money `cost_per_device_hour` is in. None: any."""
    cost_per_device_hour: PositiveFloat | None = None

    @property
    def is_limited(self) -> bool:
        return self.max_minutes is not None or self.max_cost is not None


def find_budget_errors(budget: Budget) -> list[FieldError]:
    if budget.max_cost is not None and budget.cost_per_device_hour is None:
        return [FieldError("budget.cost_per_device_hour", "required by budget.max_cost")]
    return []


def explain_overrun(budget: Budget, seconds: float, devices: int) -> str | None:
    """Which part of the budget `seconds` of training on so many devices use up, in words; None: none yet."""
    if budget.max_minutes is not None and seconds >= 60 * budget.max_minutes:
        return f"the budget of {budget.max_minutes:g} minutes is used up"
    if budget.max_cost is not None and budget.cost_per_device_hour is not None:
        cost = seconds / 3600 * devices * budget.cost_per_device_hour
        if cost >= budget.max_cost:
            return f"the budget of {budget.max_cost:g} is used up: {devices} devices cost {cost:.2f} so far"
    return None
