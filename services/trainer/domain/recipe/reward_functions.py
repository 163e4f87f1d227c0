"""Which reward functions a deployment lets its recipes name: a recipe must never be a way to run code."""

from collections.abc import Set

from services.trainer.domain.recipe.schema import Recipe
from shared.errors import FieldError, InvalidRequest


def check_listed(recipe: Recipe, listed: Set[str]) -> None:
    """Check that the recipe and its stages name functions on the list only.

    Raises:
        InvalidRequest: naming the field.
    """
    named = [("reward_function", recipe.reward_function)]
    named += [(f"stages[{index}].reward_function", stage.reward_function) for index, stage in enumerate(recipe.stages)]
    unlisted = [(field, name) for field, name in named if name is not None and name not in listed]
    errors = [FieldError(field, explain_unlisted(name)) for field, name in unlisted]
    if errors:
        raise InvalidRequest("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)


def explain_unlisted(name: str) -> str:
    """Say that the function is not on the list, and where that is."""
    return f"{name!r} is not on this deployment's list (HELIOTROPE_TRAINER_REWARD_FUNCTIONS)"
