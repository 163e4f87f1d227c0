"""A recipe that suits a dataset, a model and a machine, with the reason for each of its settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from services.trainer.domain.planning.planner import Devices, apply_plan, describe_plan, plan_run
from services.trainer.domain.planning.sizing import LENGTH_QUANTILE, Sizes, size_recipe
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from shared.errors import InvalidRequest

ENOUGH = 50
"""Rows from which on a kind of row is worth a method of its own."""
ROWS_A_STEP = 8
"""As in `recipes/default.yaml`."""
LOOKS = 10
"""How often a run is saved and measured, but never less often than every `MOST_STEPS_APART` steps."""
MOST_STEPS_APART = 20


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a dataset holds, in rows."""

    pairs: int
    validation_pairs: int
    answers: int
    """Corrections and praised answers."""
    liked: int
    """Labels of answers that users liked."""
    disliked: int


@dataclass(frozen=True)
class Setting:
    """Fields of a recipe, and why they have these values."""

    fields: dict[str, Any]
    reason: str


def suggest_method(holdings: Holdings) -> Setting:
    """Choose the method by what the dataset holds.

    Raises:
        InvalidRequest: nothing can be learned from it.
    """
    pairs, answers, liked, disliked = holdings.pairs, holdings.answers, holdings.liked, holdings.disliked
    if pairs >= ENOUGH or (pairs and pairs >= max(answers, min(liked, disliked))):
        few = "" if pairs >= ENOUGH else f"; fewer than {ENOUGH} teach little"
        losses = {"beta": 0.1, "loss_type": ["sigmoid", "sft"], "loss_weights": [0.25, 1.0]}
        reason = f"{pairs} pairs say which of two answers is better{few}; the likelihood of the chosen one is held up"
        return Setting({"method": "dpo", **losses}, reason)
    if min(liked, disliked) >= ENOUGH or min(liked, disliked) > answers + pairs:
        reason = f"{liked} liked and {disliked} disliked answers, and only {pairs} pairs: labels need no pairs"
        return Setting({"method": "kto"} | _weigh_labels(liked, disliked), reason)
    if answers + pairs:
        rows = "both" if answers and pairs else "sft" if answers else "chosen"
        reason = f"{answers} corrections and praised answers, {pairs} pairs: too few to compare, so they are imitated"
        return Setting({"method": "sft", "sft_rows": rows}, reason)
    raise InvalidRequest("the dataset holds no pairs, no corrections, and not both kinds of label: nothing to learn")


def _weigh_labels(liked: int, disliked: int) -> dict[str, float]:
    """Weigh the rarer kind up, so that both count the same (Ethayarajh et al. 2024, equation 8)."""
    if liked >= disliked:
        return {"undesirable_weight": round(liked / disliked, 2)}
    return {"desirable_weight": round(disliked / liked, 2)}


def draft_settings(method: Setting, devices: Devices) -> list[Setting]:
    """List the settings that do not depend on the rows' lengths."""
    bf16 = Setting({"precision": "bf16"}, f"each {devices.kind} has units for it")
    rate = {"learning_rate": 1e-4, "lr_scheduler": "linear", "warmup_ratio": 0.05}
    return [
        method,
        Setting({"passes": 2}, "passes rather than steps, so that more data means a longer run"),
        Setting(rate, "the usual rate for LoRA; it falls to zero so that the last steps settle"),
        *([bf16] if devices.computes_in_bf16 else []),
    ]


def suggest_sizes(settings: Sequence[Setting], sizes: Sizes, holdings: Holdings) -> list[Setting]:
    """List the settings that follow from lengths, model and memory: as much of the rows as fits."""
    sized, reason = max(
        (size_recipe(draft_recipe(settings, activation_checkpointing=again), sizes) for again in (False, True)),
        key=lambda found: (found[0].length, found[0].batch_size),
    )
    length, _, steps = (reason or "").partition("; ")
    chosen = [Setting({"max_length": sized.length}, f"{length} ({LENGTH_QUANTILE:.0%} are wanted)")]
    if sized.activation_checkpointing:
        chosen.append(Setting({"activation_checkpointing": True}, "without it less of the rows would fit into memory"))
    return [*chosen, _suggest_batch(sized, sizes), _suggest_looks(sized.steps, steps, holdings)]


def draft_recipe(settings: Sequence[Setting], **more: Any) -> Recipe:
    """Make a recipe of the settings, the rest left to the data and the planner."""
    fields = {name: value for setting in settings for name, value in setting.fields.items()}
    rows = {"batch_size": 4, "gradient_accumulation_steps": ROWS_A_STEP // 4, "parallelism": {"strategy": "auto"}}
    return parse_recipe({"name": "draft"} | rows | fields | more)


def _suggest_batch(sized: Recipe, sizes: Sizes) -> Setting:
    """Have a step hold as many rows as the draft, divided as the planner says."""
    if sizes.model is None:
        fields: dict[str, Any] = {"batch_size": sized.batch_size}
        fields["gradient_accumulation_steps"] = sized.gradient_accumulation_steps
        return Setting(fields, "the base does not say its size, so its memory is not known")
    plan = plan_run(sized, sizes.model, sizes.devices)[-1]
    planned = apply_plan(sized, plan)
    fields = {"batch_size": planned.batch_size}
    fields["gradient_accumulation_steps"] = planned.gradient_accumulation_steps
    if plan.parallelism.is_distributed:
        fields["parallelism"] = msgspec.to_builtins(plan.parallelism)
    return Setting(fields, "\n".join(describe_plan(plan, sizes.devices)))


def _suggest_looks(steps: int, reason: str, holdings: Holdings) -> Setting:
    apart = max(min(steps // LOOKS, MOST_STEPS_APART), 1)
    fields = {"save_steps": apart}
    measured = ""
    if holdings.validation_pairs:
        fields["eval_steps"] = apart
        measured = f", and the {holdings.validation_pairs} validation pairs are measured, so that overfitting ends it"
    return Setting(fields, f"{reason}; at most {apart} are lost with a worker{measured}")
