"""Guards: what the logged metrics say about going on."""

import math
from collections.abc import Sequence
from statistics import median

from services.trainer.domain.guards.reward_hacking import find_length_drift, find_preference_drop, find_repetition
from services.trainer.domain.guards.verdict import (
    ADJUSTED,
    GO_ON,
    REWARD,
    Metrics,
    Verdict,
    apply_rules,
    calculate_smoothed,
    compare_to_start,
    holds_for,
    read,
)
from services.trainer.domain.recipe.sections import Budget, Guards

KL = ("kl", "objective/kl")
ENTROPY = ("entropy", "policy/entropy_avg")
SKIPPED = "skipped_step"
"""Marks a logged step that changed no weight."""
WINDOW = 50
"""Logged steps that the running median of the gradient norm is taken over."""
SMALL_GRADIENT = 0.1
"""A median below it counts as this: waking up from almost no gradient is no explosion."""


def assess_metrics(steps: Sequence[Metrics], guards: Guards) -> Verdict:
    """Judge the newest of `steps`, one entry for each logged step, oldest first.

    "Smoothed" is the mean of the last `patience` entries, "the start" that of the first `patience` ones.

    - a loss or gradient norm that is not finite: roll back
    - for twice `patience` entries a step that fp16 skipped: stop
    - a gradient norm (before clipping) above `max_gradient_norm`: roll back
    - the median of the last `patience` gradient norms more than `max_gradient_ratio` times the median before: roll back
    - the smoothed KL above twice `max_kl`, or above `max_kl` after `max_adjustments` adjustments: stop
    - the smoothed KL above `max_kl`, and no adjustment among the last `patience` entries: adjust
    - where answers are sampled, the smoothed entropy below `min_entropy_share` of the start: stop
    - for `patience` entries rewards within `min_reward_spread` of each other, or in each group equal: stop
    - the smoothed length of sampled answers further than `max_length_ratio` times from the start: stop
    - the smoothed share of distinct bigrams below `min_distinct_share` of the start: stop
    - for `patience` entries every pair ranked right and the mean margin above `max_margin` nats: finish
    """
    if not steps:
        return GO_ON
    return apply_rules(RULES, steps, guards)


def assess_validation(measurements: Sequence[Metrics], steps: Sequence[Metrics], guards: Guards) -> Verdict:
    """Judge the newest measurement of the validation split, oldest first, after these logged steps.

    - no `eval_loss` below the best one for `eval_patience` measurements: finish
    - for `patience` measurements an `eval_preference` more than `max_preference_drop` below the best one, while the
      smoothed reward is above the start: stop
    """
    return find_preference_drop(measurements, steps, guards) or _find_overfitting(measurements, guards) or GO_ON


def settle_roll_back(verdict: Verdict, *, done: int, guards: Guards, has_checkpoint: bool) -> Verdict:
    """Replace a `roll back` that is one too many, or that has no good checkpoint to go back to, by `stop`."""
    if verdict.action != "roll back" or (has_checkpoint and done < guards.max_roll_backs):
        return verdict
    return Verdict("stop", f"{verdict.reason} after {done} returns to a checkpoint" if done else verdict.reason)


def _find_overfitting(measurements: Sequence[Metrics], guards: Guards) -> Verdict | None:
    losses = [entry["eval_loss"] for entry in measurements if "eval_loss" in entry]
    wait = guards.eval_patience
    if wait is None or len(losses) <= wait or min(losses[-wait:]) < (best := min(losses[:-wait])):
        return None
    return Verdict("finish", f"validation loss {losses[-1]:.4g}, no better than {best:.4g} for {wait} measurements")


def _find_not_finite(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    broken = [name for name in ("loss", "grad_norm") if not math.isfinite(steps[-1].get(name, 0.0))]
    return Verdict("roll back", f"{broken[0]} is {steps[-1][broken[0]]}") if broken else None


def mark_skipped_step(metrics: Metrics, precision: str) -> Metrics:
    """Mark a step that fp16 skipped, in place of its gradient norm.

    Scaled gradients that overflow are thrown away and the scale is halved: that is how fp16 works, and no broken run.
    """
    if precision != "fp16" or math.isfinite(metrics.get("grad_norm", 0.0)):
        return metrics
    return {name: value for name, value in metrics.items() if name != "grad_norm"} | {SKIPPED: 1.0}


def _find_skipped_steps(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    if not holds_for(steps, lambda entry: SKIPPED in entry, 2 * guards.patience):
        return None
    return Verdict(
        "stop", f"fp16 skipped {2 * guards.patience} steps in a row: gradients overflow at any scale; use bf16"
    )


def _find_gradient_explosion(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    norm, ceiling = steps[-1].get("grad_norm", 0.0), guards.max_gradient_norm
    return Verdict("roll back", f"gradient norm {norm:.4g} is above {ceiling:.4g}") if norm > ceiling else None


def _find_gradient_growth(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    norms = [entry["grad_norm"] for entry in steps[-WINDOW - guards.patience :] if "grad_norm" in entry]
    earlier, recent = norms[: -guards.patience], norms[-guards.patience :]
    if guards.max_gradient_ratio is None or len(earlier) < guards.patience:
        return None
    usual, now = max(median(earlier), SMALL_GRADIENT), median(recent)
    if now <= guards.max_gradient_ratio * usual:
        return None
    return Verdict("roll back", f"gradient norm {now:.4g} is {now / usual:.0f} times its running median {usual:.4g}")


def _find_kl_drift(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    kl, ceiling = calculate_smoothed(steps[-guards.patience :], KL, guards.patience), guards.max_kl
    if ceiling is None or kl is None or kl <= ceiling:
        return None
    reason = f"KL {kl:.4g} nats is above {ceiling:.4g}"
    done = sum(ADJUSTED in entry for entry in steps)
    if not kl <= 2 * ceiling:
        return Verdict("stop", reason)
    if any(ADJUSTED in entry for entry in steps[-guards.patience :]):  # what came before it still counts in the mean
        return None
    if done >= guards.max_adjustments:
        return Verdict("stop", f"{reason} after {done} adjustments" if done else reason)
    return Verdict("adjust", reason)


def _find_entropy_collapse(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    if read(steps[-1], REWARD) is None:  # only where answers are sampled is a falling entropy a loss
        return None
    entropies = compare_to_start(steps, ENTROPY, guards.patience)
    if entropies is None or entropies[1] >= guards.min_entropy_share * entropies[0]:
        return None
    start, now = entropies
    return Verdict("stop", f"entropy {now:.3g} nats is below {guards.min_entropy_share:.0%} of its start {start:.3g}")


def _find_equal_rewards(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    if not holds_for(steps, lambda entry: _has_equal_rewards(entry, guards.min_reward_spread), guards.patience):
        return None
    return Verdict("stop", f"rewards no longer differ: spread below {guards.min_reward_spread:.3g}, or 0 in each group")


def _find_saturation(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    if not holds_for(steps, lambda entry: _is_saturated(entry, guards.max_margin), guards.patience):
        return None
    margin = steps[-1]["rewards/margins"]
    return Verdict(
        "finish", f"reward margin {margin:.3g} is above {guards.max_margin:.3g} with every pair ranked right"
    )


def _is_saturated(entry: Metrics, max_margin: float) -> bool:
    return entry.get("rewards/margins", 0.0) > max_margin and entry.get("rewards/accuracies", 0.0) >= 1.0


def _has_equal_rewards(entry: Metrics, min_spread: float) -> bool:
    if "max_reward" in entry and "min_reward" in entry:
        return entry["max_reward"] - entry["min_reward"] < min_spread
    return entry.get("reward_std", math.inf) < min_spread or entry.get("frac_reward_zero_std", 0.0) >= 1.0


RULES = (
    _find_not_finite,
    _find_skipped_steps,
    _find_gradient_explosion,
    _find_gradient_growth,
    _find_kl_drift,
    _find_entropy_collapse,
    _find_equal_rewards,
    find_length_drift,
    find_repetition,
    _find_saturation,
)


def explain_overrun(budget: Budget, seconds: float, devices: int) -> str | None:
    """Say which part of the budget `seconds` of training on so many devices use up; None: none yet."""
    if budget.max_minutes is not None and seconds >= 60 * budget.max_minutes:
        return f"the budget of {budget.max_minutes:g} minutes is used up"
    if budget.max_cost is not None and budget.cost_per_device_hour is not None:
        cost = seconds / 3600 * devices * budget.cost_per_device_hour
        if cost >= budget.max_cost:
            return f"the budget of {budget.max_cost:g} is used up: {devices} devices cost {cost:.2f} so far"
    return None
