"""The recipe that a try trains by: made for its data, its model and its time."""

import math
from typing import Any

from services.trainer.domain.planning.suggestion import Holdings, suggest_method
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from shared.errors import InvalidRequest

ROWS_A_STEP = 8
LEAST_STEPS, LEAST_PASSES, MOST_PASSES = 60, 2.0, 8.0
"""Few rows are gone over more often, up to so many times."""
KNOWN_PARAMETERS, KNOWN_RATE = 135e6, 2e-3
"""The demo's model, and the rate that it was measured with (`recipes/demo.yaml`)."""
LOWEST_RATE, HIGHEST_RATE = 1e-4, 5e-3
PROBE_STEPS = 3
LEAST_ROWS = 20
"""Rows to train on; fewer teach nothing that a measure could find."""


def choose_rate(parameters: int | None) -> float:
    """Choose LoRA's learning rate: it falls with the root of the model's size, from the one that the demo measured.

    5e-3 for under 20M weights (`recipes/demo_tiny.yaml`), 2e-3 for 135M, 3e-4 for 7B; 1e-4 where the size is not known.
    """
    if not parameters:
        return LOWEST_RATE
    rate = KNOWN_RATE * math.sqrt(KNOWN_PARAMETERS / parameters)
    return float(f"{min(max(rate, LOWEST_RATE), HIGHEST_RATE):.1e}")


def choose_passes(rows: int) -> float:
    """Choose how often each row is trained on: few rows oftener."""
    return round(min(max(LEAST_STEPS * ROWS_A_STEP / max(rows, 1), LEAST_PASSES), MOST_PASSES), 1)


def draft_recipe(holdings: Holdings, parameters: int | None) -> Recipe:
    """Draft the recipe of the policy.

    Raises: InvalidRequest: the dataset holds nothing to learn.
    """
    method = suggest_method(holdings).fields
    rows = _count_rows(holdings)[method["method"]]
    return parse_recipe({"name": "try"} | method | _settle(rows, choose_rate(parameters)))


def explain_thin(holdings: Holdings) -> str | None:
    """Explain that the method that suits the data would have too few rows to learn from; None if it has enough.

    Of labels both kinds count alike: with hardly one of the other kind, they teach nothing.
    """
    told = (
        f"{holdings.pairs} pairs, {holdings.liked} liked and {holdings.disliked} disliked answers and "
        f"{holdings.answers} corrections can be trained on"
    )
    try:
        method = suggest_method(holdings).fields["method"]
    except InvalidRequest:
        return told
    rows = _count_rows(holdings) | {"kto": 2 * min(holdings.liked, holdings.disliked)}
    return told if rows[method] < LEAST_ROWS else None


def _count_rows(holdings: Holdings) -> dict[str, int]:
    return {"dpo": holdings.pairs, "kto": holdings.liked + holdings.disliked, "sft": holdings.answers + holdings.pairs}


def draft_reward_recipe(pairs: int, parameters: int | None) -> Recipe:
    """Draft the recipe of a reward model; its head begins at random, and bears a lower rate than the policy."""
    rate = max(choose_rate(parameters) / 4, LOWEST_RATE)
    return parse_recipe({"name": "try-reward", "method": "reward"} | _settle(pairs, rate))


def _settle(rows: int, rate: float) -> dict[str, Any]:
    return {
        "passes": choose_passes(rows),
        "batch_size": ROWS_A_STEP // 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": rate,
        "lr_scheduler": "linear",
        "warmup_ratio": 0.05,
        "save_steps": 100_000,
        "logging_steps": 5,
    }


def shorten(steps: int, seconds: float, time: float) -> int | None:
    """Shorten a run of so many steps to what fits into `time`; None: all of it does.

    `seconds` is what one step takes. The rate still falls to zero, at the end of the shorter run.
    """
    fitting = int(time / seconds) if seconds > 0 else steps
    return None if fitting >= steps else max(fitting, 1)
