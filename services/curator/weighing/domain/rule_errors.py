"""What each rule adds to its users' errors: measured wherever its judgements meet others' votes.

The error of a rule is a point of a grid; its posterior mean is taken, under a Beta prior around the rule's own that is
worth `PRIOR_STRENGTH` comparisons. A judgement of whose item nothing else is known, such as an edit, says nothing.
"""

from itertools import pairwise

import numpy as np

from services.curator.weighing.domain.judgement_arrays import RULES, JudgementArrays, add_rule_error, mix
from services.curator.weighing.domain.preference_model import Floats

PRIOR_ERRORS = dict(RULES)
PRIOR_STRENGTH = 20.0
GRID = (0.0025, 0.0075, 0.015, 0.025, 0.04, 0.06, 0.08, 0.1, 0.125, 0.155, 0.19, 0.23, 0.28, 0.33, 0.38, 0.43, 0.48)
EDGES = (0.0, *((one + other) / 2 for one, other in pairwise(GRID)), 0.5)


def estimate_rule_errors(rows: JudgementArrays, p: Floats, wrong: Floats) -> Floats:
    """Estimate each rule's error, shape (rules,).

    p: the probability that each judgement's item is as it says, given everything else
    wrong: the probability that those who make it are wrong
    """
    scores = [np.bincount(rows.rules, np.log(mix(p, add_rule_error(rows, wrong, error))), len(RULES)) for error in GRID]
    posterior = np.array(scores) + _LOG_PRIOR
    posterior = np.exp(posterior - posterior.max(axis=0))
    mean = (np.array(GRID)[:, None] * posterior).sum(axis=0) / posterior.sum(axis=0)
    rounded: Floats = np.round(mean, 9)
    return rounded


def _calculate_log_prior() -> Floats:
    points = np.array(GRID)
    prior = np.array([epsilon for _, epsilon in RULES])
    shape, rest = PRIOR_STRENGTH * prior, PRIOR_STRENGTH * (1 - prior)
    width = np.log(np.diff(np.array(EDGES)))
    log_prior: Floats = (
        (shape - 1) * np.log(points)[:, None] + (rest - 1) * np.log(1 - points)[:, None] + width[:, None]
    )
    return log_prior


_LOG_PRIOR = _calculate_log_prior()
