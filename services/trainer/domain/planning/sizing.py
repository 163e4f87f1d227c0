"""Sizing: how long a run's sequences are and how many steps it takes, from its data and the memory at hand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from services.trainer.domain.planning.memory import ModelSize
from services.trainer.domain.planning.planner import GIB, Devices, plan_run, shrink_micro_batch
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import GROUP_METHODS, SAMPLING_METHODS

PASSES = 2.0
"""When the recipe names neither passes nor steps."""
LENGTH_QUANTILE = 0.99
LENGTH_STEP = 8
"""Lengths are rounded up to this many tokens."""
SHORTEST = 64
MAX_CUT_SHARE = 0.2
"""Of rows, that a lack of memory may cut."""


@dataclass(frozen=True)
class Sizes:
    """What is known before a run is sized."""

    lengths: Sequence[int]
    """Tokens of each row: prompt and longer answer, or prompt and room for an answer."""
    model: ModelSize | None
    """None: it does not say its size, and is not held against the memory."""
    devices: Devices
    context: int
    """Tokens that the model can read."""


def size_recipe(recipe: Recipe, sizes: Sizes) -> tuple[Recipe, str | None]:
    """Put steps and length into a recipe that leaves them to the data; returns it and what was chosen and why.

    - the length holds 99% of the rows, as far as the model reads and, with one row at a time, the memory goes
    - the micro-batch is halved until it fits, where the length was left to the data; a step keeps its rows
    - the steps are `passes` over the rows, never more than `max_steps`
    """
    reasons: list[str] = []
    if recipe.max_length is None:
        recipe, reason = _choose_length(recipe, sizes)
        reasons.append(reason)
    if recipe.max_steps is None or recipe.passes is not None:
        recipe, reason = _choose_steps(recipe, len(sizes.lengths))
        reasons.append(reason)
    return recipe, "; ".join(reasons) or None


def assess_length(asked: Recipe, sized: Recipe, sizes: Sizes) -> str | None:
    """Say what to change when the memory would have more than a fifth of the rows cut; None: it would not.

    `asked`, `sized`: the recipe before and after `size_recipe`. A length that somebody named is their choice.
    """
    longer = sum(min(length, sizes.context) > sized.length for length in sizes.lengths)
    if asked.max_length is not None or longer <= MAX_CUT_SHARE * len(sizes.lengths):
        return None
    kind, free, total = sizes.devices.kind, sizes.devices.memory_bytes / GIB, len(sizes.lengths)
    return (
        f"{free:.1f} GiB free on each {kind} hold {sized.length} tokens, {sized.batch_size} rows at a time, and "
        f"{longer} of {total} rows ({longer / total:.0%}) are longer; free memory, take a device with more, set "
        "activation_checkpointing, or name max_length to have rows cut"
    )


def _choose_length(recipe: Recipe, sizes: Sizes) -> tuple[Recipe, str]:
    ordered = sorted(sizes.lengths) or [SHORTEST]
    wanted = _round_up(max(ordered[math.ceil(LENGTH_QUANTILE * len(ordered)) - 1], SHORTEST))
    if recipe.method in SAMPLING_METHODS:
        wanted = max(wanted, _round_up(recipe.sampling.max_new_tokens + LENGTH_STEP))
    length = min(wanted, sizes.context)
    fitting = _find_fitting(recipe, length, sizes)
    held = sum(size <= fitting.length for size in ordered) / len(ordered)
    reason = f"{fitting.length} tokens hold {held:.1%} of the rows"
    if fitting.length < length:
        reason += f", the longest that fits into memory; 99% would need {length}"
    elif length < wanted:
        reason += f", all that the model reads; 99% would need {wanted}"
    if fitting.batch_size < recipe.batch_size:
        reason += f", {fitting.batch_size} rows at a time in place of {recipe.batch_size}"
    return fitting, reason


def _find_fitting(recipe: Recipe, length: int, sizes: Sizes) -> Recipe:
    """Find the largest micro-batch that fits; when not even the smallest does, the longest length that does."""
    sized = msgspec.structs.replace(recipe, max_length=length)
    smallest = sized
    while not _fits(smallest, sizes):
        smaller = shrink_micro_batch(smallest)
        if smaller is None:
            break
        smallest = smaller
    while not _fits(smallest, sizes) and smallest.length > SHORTEST:
        shorter = max(SHORTEST, _round_up(smallest.length * 3 // 4) - LENGTH_STEP)
        smallest = msgspec.structs.replace(smallest, max_length=shorter)
    return smallest


def _fits(recipe: Recipe, sizes: Sizes) -> bool:
    return sizes.model is None or plan_run(recipe, sizes.model, sizes.devices)[-1].fits


def _choose_steps(recipe: Recipe, rows: int) -> tuple[Recipe, str]:
    """Count the steps: a row is a sequence for `sft` to `reward`, a prompt with several for `rloo` and `grpo`."""
    passes = recipe.passes or PASSES
    a_step = recipe.batch_size * recipe.gradient_accumulation_steps * recipe.parallelism.processes
    if recipe.method in GROUP_METHODS:
        a_step = max(a_step // recipe.sampling.answers_per_prompt, 1)
    steps = max(math.ceil(passes * rows / a_step), 1)
    if recipe.max_steps is not None and recipe.max_steps < steps:
        return recipe, f"{recipe.max_steps} steps at most, {recipe.max_steps * a_step / max(rows, 1):.1f} passes"
    return msgspec.structs.replace(recipe, max_steps=steps), f"{passes:g} passes over {rows} rows are {steps} steps"


def _round_up(tokens: int) -> int:
    return -(-tokens // LENGTH_STEP) * LENGTH_STEP
