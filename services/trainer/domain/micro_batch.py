"""Fewer rows at a time, as many in a step."""

import msgspec

from services.trainer.domain.recipe import Recipe


def shrink_micro_batch(recipe: Recipe) -> Recipe | None:
    """The recipe with the next smaller micro-batch that divides the old one, accumulated to the same batch a step.

    None: it cannot be smaller. `kto` compares the rows of a micro-batch, so it keeps two.
    """
    smallest = 2 if recipe.method == "kto" else 1
    smaller = [size for size in range(smallest, recipe.batch_size) if recipe.batch_size % size == 0]
    if not smaller:
        return None
    size = max(smaller)
    accumulation = recipe.gradient_accumulation_steps * (recipe.batch_size // size)
    return msgspec.structs.replace(recipe, batch_size=size, gradient_accumulation_steps=accumulation)
