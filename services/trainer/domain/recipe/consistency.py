"""Mistakes of fields that are right each by itself."""

from typing import Any

import msgspec

from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import (
    DISTRIBUTED_METHODS,
    GROUP_METHODS,
    PRECISION_METHODS,
    SAMPLING_METHODS,
    ZERO_STAGES,
    Budget,
    Drift,
    Guards,
    Lora,
    Method,
    Parallelism,
    Sampling,
)
from shared.errors import FieldError

METHOD_FIELDS: dict[str, tuple[Method, ...]] = {
    "beta": ("dpo", "kto"),
    "loss_type": ("dpo",),
    "loss_weights": ("dpo",),
    "sft_rows": ("sft",),
    "desirable_weight": ("kto",),
    "undesirable_weight": ("kto",),
    "harm_share": ("reward",),
    "reward_model": ("rloo", "grpo", "ppo"),
    "reward_function": ("rloo", "grpo"),
    "kl_coefficient": ("rloo", "grpo", "ppo"),
    "target_kl": ("ppo",),
    "sampling": ("rloo", "grpo", "ppo"),
    "grpo": ("grpo",),
    "eval_steps": ("sft", "dpo", "kto", "reward", "rloo", "grpo", "ppo"),
    "stages": ("ladder",),
    "activation_checkpointing": ("sft", "dpo", "kto", "reward", "rloo", "grpo"),
    "compile": ("sft", "dpo"),
    "length_grouped": ("sft", "dpo"),
    "prefix_sharing": ("dpo",),
    "precision": PRECISION_METHODS,
    "max_grad_norm": ("sft", "dpo", "kto", "reward", "rloo", "grpo"),
    "logging_steps": ("sft", "dpo", "kto", "reward", "rloo", "grpo"),
}
"""Fields that only some methods use. Another method's recipe may hold their defaults, as a stored one does."""


GUARD_METHODS: dict[str, tuple[Method, ...]] = {
    "max_gradient_norm": ("sft", "dpo", "kto", "reward", "rloo", "grpo"),
    "max_gradient_ratio": ("sft", "dpo", "kto", "reward", "rloo", "grpo"),
    "max_margin": ("dpo",),
    "max_kl": ("kto", "rloo", "grpo", "ppo"),
    "max_adjustments": ("kto", "rloo", "grpo", "ppo"),
    "min_entropy_share": SAMPLING_METHODS,
    "min_reward_spread": ("reward", *GROUP_METHODS),
    "max_length_ratio": SAMPLING_METHODS,
    "min_distinct_share": SAMPLING_METHODS,
    "max_preference_drop": SAMPLING_METHODS,
    "eval_patience": ("sft", "dpo", "kto", "reward"),
}
"""Guards that judge what only some methods log; the others judge every run."""


ACCEPTED_BEFORE = ("logging_steps",)
"""Fields of METHOD_FIELDS that are refused since this release, as GUARD_METHODS' are. A stored recipe may hold them."""


FORMER_DEFAULTS: dict[str, Any] = {"precision": "fp32"}
"""What recipes that were stored before this release hold of fields that have another default now."""


DROPOUT_METHODS: tuple[Method, ...] = ("sft", "rloo", "grpo")
"""Methods in which TRL leaves dropout on; the others compare log-probabilities or scores, and it turns it off there."""

OF_LADDER_ALONE = ("base", "dataset", "device", "launcher", "replay", "drift")


DEFAULTS: dict[str, Any] = {field.name: field.default for field in msgspec.structs.fields(Recipe)}


LADDER_FIELDS = ("name", "method", "max_steps", "stages", *OF_LADDER_ALONE)


def find_contradictions(recipe: Recipe, *, stored: bool = False) -> list[FieldError]:
    """Return mistakes of fields that are right each by itself.

    Args:
        stored: the recipe was accepted once; what an earlier release took without a word is no mistake of its run's.
    """
    if recipe.method != "ladder":
        return _find_method_errors(recipe, stored=stored)
    errors = [
        FieldError(field.name, "not used by a ladder itself: write it into its stages")
        for field in msgspec.structs.fields(Recipe)
        if field.name not in LADDER_FIELDS and _is_set(recipe, field.name)
    ]
    errors += _find_drift_errors(recipe.drift)
    if not recipe.stages or not recipe.stages[-1].trains_chat_model:
        errors.append(FieldError("stages", "the last stage must train a chat model"))
    if recipe.max_steps not in (None, sum(stage.max_steps or 0 for stage in recipe.stages)):
        errors.append(FieldError("max_steps", "not the sum of the stages' steps; a ladder needs none"))
    has_reward_model, untouched = False, Recipe(name="none", method="sft", max_steps=1)
    for index, stage in enumerate(recipe.stages):
        found = _find_method_errors(stage, has_reward_model=has_reward_model, stored=stored)
        found += [
            FieldError(name, "not used by a stage, only by the ladder")
            for name in OF_LADDER_ALONE
            if getattr(stage, name) != getattr(untouched, name)
        ]
        if stage.parallelism.nodes > 1:
            found.append(FieldError("parallelism.nodes", "a ladder's stages train on one machine each"))
        if stage.method == "ladder":
            found.append(FieldError("method", "a stage is no ladder"))
        errors += [FieldError(f"stages[{index}].{error.field}", error.message) for error in found]
        has_reward_model |= stage.method == "reward"
    return errors


def _find_method_errors(recipe: Recipe, *, has_reward_model: bool = False, stored: bool) -> list[FieldError]:
    """Find fields that the method cannot honour. `has_reward_model`: an earlier stage trains one."""
    errors = [
        FieldError(name, f"not used by the method {recipe.method}, only by {', '.join(methods)}")
        for name, methods in METHOD_FIELDS.items()
        if recipe.method not in methods and _is_set(recipe, name) and not (stored and name in ACCEPTED_BEFORE)
    ]
    errors += [] if stored else _find_guard_errors(recipe)
    if recipe.lora.dropout and recipe.method not in DROPOUT_METHODS:
        message = f"not used by the method {recipe.method}, only by {', '.join(DROPOUT_METHODS)}"
        errors.append(FieldError("lora.dropout", message))
    if recipe.tuning == "full" and recipe.lora != Lora():
        errors.append(FieldError("lora", "not used when tuning is full"))
    if recipe.loss_weights is not None and len(recipe.loss_weights) != len(recipe.loss_type):
        errors.append(FieldError("loss_weights", f"needs one weight for each of {len(recipe.loss_type)} loss types"))
    errors += _find_budget_errors(recipe.budget)
    errors += _find_drift_errors(recipe.drift)
    errors += _find_parallelism_errors(recipe.parallelism, recipe.method)
    if recipe.replay.rule_weights is not None and recipe.method not in ("dpo", "reward"):
        message = f"not used by the method {recipe.method}, only by dpo, reward"
        errors.append(FieldError("replay.rule_weights", message))
    if recipe.method == "kto" and recipe.batch_size < 2:
        errors.append(FieldError("batch_size", "kto compares the answers of a batch, so it needs at least 2"))
    return errors + (_find_sampling_errors(recipe, has_reward_model) if recipe.method in SAMPLING_METHODS else [])


def _find_guard_errors(recipe: Recipe) -> list[FieldError]:
    return [
        FieldError(f"guards.{name}", f"not used by the method {recipe.method}, only by {', '.join(methods)}")
        for name, methods in GUARD_METHODS.items()
        if recipe.method not in methods and getattr(recipe.guards, name) != getattr(Guards(), name)
    ]


def _is_set(recipe: Recipe, name: str) -> bool:
    """Tell whether the field holds something else than a default, today's or the one before it."""
    value = getattr(recipe, name)
    return value != DEFAULTS[name] and (name not in FORMER_DEFAULTS or value != FORMER_DEFAULTS[name])


def _find_sampling_errors(recipe: Recipe, has_reward_model: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if recipe.reward_function is not None and recipe.reward_model is not None:
        errors.append(FieldError("reward_function", "not beside a reward_model: a run climbs one of them"))
    if recipe.reward_function is None and recipe.reward_model is None and not has_reward_model:
        other = " (or a reward_function)" if recipe.method in GROUP_METHODS else ""
        errors.append(FieldError("reward_model", f"required by the method {recipe.method}{other}"))
    if recipe.max_length is not None and recipe.max_length <= recipe.sampling.max_new_tokens:
        errors.append(
            FieldError("sampling.max_new_tokens", f"leaves no room for a prompt in {recipe.max_length} tokens")
        )
    if recipe.method in GROUP_METHODS:
        step, answers = recipe.batch_size * recipe.gradient_accumulation_steps, recipe.sampling.answers_per_prompt
        if step % answers:
            message = f"a step's {step} answers are no multiple of the {answers} for each prompt"
            errors.append(FieldError("sampling.answers_per_prompt", message))
    elif recipe.sampling.answers_per_prompt != Sampling().answers_per_prompt:
        errors.append(FieldError("sampling.answers_per_prompt", "not used by the method ppo, only by rloo, grpo"))
    return errors


def _find_parallelism_errors(parallelism: Parallelism, method: str) -> list[FieldError]:
    """
    - `single` is one process, the others but `auto` are at least two; `auto` chooses processes and offloading itself
    - machines have as many processes each
    - only some methods can be spread; `auto` then means `single`
    - only ZeRO and FSDP offload; weights only with stage 3, and FSDP moves all or nothing
    """
    errors: list[FieldError] = []
    strategy, offload = parallelism.strategy, parallelism.offload
    if strategy == "single" and parallelism.processes != 1:
        errors.append(FieldError("parallelism.processes", "more than one needs a strategy: ddp, zero2, zero3 or fsdp2"))
    if strategy not in ("single", "auto") and parallelism.processes < 2:
        errors.append(FieldError("parallelism.processes", f"{strategy} needs at least 2"))
    if strategy == "auto" and parallelism.processes != 1:
        errors.append(FieldError("parallelism.processes", "not used by the strategy auto, which counts the devices"))
    if parallelism.processes % parallelism.nodes:
        message = f"{parallelism.processes} processes are not as many on each of {parallelism.nodes} machines"
        errors.append(FieldError("parallelism.nodes", message))
    if strategy not in ("single", "auto") and method not in DISTRIBUTED_METHODS:
        errors.append(FieldError("parallelism.strategy", f"the method {method} trains in one process only"))
    if offload != "none" and strategy not in (*ZERO_STAGES, "fsdp2"):
        errors.append(FieldError("parallelism.offload", f"not used by the strategy {strategy}"))
    if offload == "optimizer" and strategy == "fsdp2":
        errors.append(FieldError("parallelism.offload", "fsdp2 moves all or nothing; use all, or zero3"))
    if offload == "all" and strategy == "zero2":
        errors.append(FieldError("parallelism.offload", "zero2 keeps the weights on each device; use zero3"))
    return errors


def _find_budget_errors(budget: Budget) -> list[FieldError]:
    if budget.max_cost is not None and budget.cost_per_device_hour is None:
        return [FieldError("budget.cost_per_device_hour", "required by budget.max_cost")]
    return []


def _find_drift_errors(drift: Drift) -> list[FieldError]:
    if drift.ceilings and not drift.examples:
        return [FieldError("drift.examples", "0 measures nothing, but drift.max_parent_kl or max_anchor_kl is set")]
    return []
