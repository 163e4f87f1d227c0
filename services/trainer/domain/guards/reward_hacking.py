"""Reward hacking: a policy that pleases its reward model in ways that people would not like."""

from collections.abc import Sequence
from itertools import pairwise

from services.trainer.domain.guards.verdict import REWARD, Metrics, Verdict, compare_to_start
from services.trainer.domain.recipe.sections import Guards

LENGTH = ("completions/mean_length",)
DISTINCT_2 = ("completions/distinct_2",)
PREFERENCE = "eval_preference"


def calculate_distinct_2(answers: Sequence[Sequence[int]]) -> float:
    """Calculate the share of all pairs of neighbouring tokens that are different ones; 1 where there is no pair."""
    bigrams = [pair for answer in answers for pair in pairwise(answer)]
    return len(set(bigrams)) / len(bigrams) if bigrams else 1.0


def find_length_drift(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    """Find answers that became much longer or shorter than at the start."""
    lengths = compare_to_start(steps, LENGTH, guards.patience)
    factor = guards.max_length_ratio
    if lengths is None or factor is None:
        return None
    start, now = lengths
    if start / factor <= now <= start * factor:
        return None
    return Verdict(
        "stop", f"answers of {now:.3g} tokens, from {start:.3g} at the start: beyond a factor of {factor:.3g}"
    )


def find_repetition(steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    """Find answers that repeat themselves."""
    shares = compare_to_start(steps, DISTINCT_2, guards.patience)
    if shares is None or shares[1] >= guards.min_distinct_share * shares[0]:
        return None
    start, now = shares
    summary = f"distinct bigrams {now:.1%} are below {guards.min_distinct_share:.0%} of their start {start:.1%}"
    return Verdict("stop", summary)


def find_preference_drop(measurements: Sequence[Metrics], steps: Sequence[Metrics], guards: Guards) -> Verdict | None:
    """Find a reward that rose while what people prefer became the less likely answer."""
    shares = [entry[PREFERENCE] for entry in measurements if PREFERENCE in entry]
    rewards = compare_to_start(steps, REWARD, guards.patience)
    recent = shares[-guards.patience :]
    if rewards is None or rewards[1] <= rewards[0] or len(shares) <= guards.patience:
        return None
    best = max(shares)
    if best - max(recent) <= guards.max_preference_drop:
        return None
    return Verdict(
        "stop",
        f"reward rose from {rewards[0]:.3g} to {rewards[1]:.3g} while the validation preference fell "
        f"from {best:.1%} to {shares[-1]:.1%}",
    )
