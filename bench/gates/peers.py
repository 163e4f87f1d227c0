"""What others would say of the same votes: a z-test of the raw win rate, and AlpacaEval's length control."""

import math

import numpy as np

from bench.gates.worlds import Evaluated
from services.evaluator.domain.votes.length_control import calculate_differences, fit

Z = 1.96


def passes_z_test(evaluated: Evaluated) -> bool:
    """Tell whether it passes, each vote by itself, as if none had anything to do with another."""
    scores = [ballot.score for ballot in evaluated.ballots if ballot.score is not None]
    return (float(np.mean(scores)) - 0.5) * math.sqrt(len(scores)) / 0.5 > Z


def passes_length_control(evaluated: Evaluated) -> bool:
    """Tell whether it passes a regression on length alone, votes independent; not where that cannot be fitted."""
    candidate = {prompt.prompt_hash: prompt.candidate for prompt in evaluated.prompts}
    champion = {prompt.prompt_hash: prompt.champion for prompt in evaluated.prompts}
    hashes = [ballot.prompt_hash for ballot in evaluated.ballots]
    scores = np.array([ballot.score for ballot in evaluated.ballots], dtype=float)
    differences = calculate_differences([candidate[key] for key in hashes], [champion[key] for key in hashes])
    fitted = fit(scores, differences, np.arange(len(scores), dtype=float))
    return fitted is not None and fitted[0] > Z * fitted[1]
