"""How far each user's word can be relied upon: a one-coin model with a Beta prior.

User u is right about an item with probability r_u, whatever the item (Dawid & Skene 1979, one coin per user). What is
right follows from the other votes on the same item and, since answers are rarely judged twice, from a small preference
model that was fitted on other users' votes on other prompts. Expectation maximisation with a fixed number of rounds:

    p_v = P(the vote is right | everything but the vote itself)
    q_v = r_u p_v / (r_u p_v + (1 - r_u)(1 - p_v))
    r_u = (a + sum q_v) / (a + b + votes of u)

Where nothing else is known p_v is 1/2, q_v is r_u, and the user stays where the prior put them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from scipy import stats

from services.curator.domain.epsilon import remove, round_figure
from services.curator.domain.preference_model import Floats, Integers, Matrix, build_matrix, fit, sigmoid
from services.curator.domain.votes import Vote

PRIOR = (6.8, 1.2)
"""Beta(a, b): right in 85% of the cases, worth 8 votes."""
PRIOR_MEAN = PRIOR[0] / (PRIOR[0] + PRIOR[1])
FLOOR = 0.5
"""Nobody's word counts as its opposite."""
FOLDS = 3
MODEL_ROUNDS = 2
ROUNDS = 10
FITTED_VOTES = 20_000
"""A fair draw of this many votes is enough for the model, and bounds its cost."""
FEWEST_VOTES = 50
"""With fewer there is nothing to fit a model on."""
TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
CONTRARY = 0.95
"""Posterior probability of being wrong more often than right, from which a user is called contrary."""


@dataclass(frozen=True, slots=True)
class Rater:
    user: str
    votes: int
    reliability: float
    contrary: bool

    @property
    def excess_error(self) -> float:
        """Errors beyond those that a rule's epsilon, an average over all users, has in it already."""
        return remove(1 - max(self.reliability, FLOOR), 1 - PRIOR_MEAN)


@dataclass(frozen=True)
class Reliability:
    raters: Mapping[str, Rater]
    temperature: float
    """What the model's log-odds were multiplied by; 0 when it knows nothing that the votes confirm."""

    def find_excess(self, user: str | None) -> float:
        """0 for an anonymous user, and for one of whom there is no vote."""
        rater = self.raters.get(user) if user is not None else None
        return rater.excess_error if rater else 0.0


@dataclass(frozen=True)
class Ballot:
    """Votes as arrays."""

    users: Integers
    items: Integers
    signs: Floats
    offsets: Floats
    matrix: Matrix
    user_folds: Integers
    prompt_folds: Integers
    drawn: Integers
    """1 for votes that the model may be fitted on."""


def estimate_reliability(votes: Sequence[Vote]) -> Reliability:
    """Every voting user's reliability; the same for the same votes in any order that `derive_votes` gives."""
    if not votes:
        return Reliability({}, 0.0)
    names = sorted({vote.user for vote in votes})
    ballot = _count_votes(votes, {name: number for number, name in enumerate(names)})
    right = np.full(len(names), PRIOR_MEAN)
    correct = np.zeros(len(votes))
    temperature = 0.0
    for _ in range(MODEL_ROUNDS):
        logits = _predict(ballot, right)
        temperature = _choose_temperature(logits, ballot, right)
        for _ in range(ROUNDS):
            correct = _judge(ballot, right, temperature * logits)
            right = _update(ballot.users, correct, len(names))
    return Reliability(_describe(names, ballot.users, correct, right), temperature)


def _count_votes(votes: Sequence[Vote], users: Mapping[str, int]) -> Ballot:
    items: dict[object, int] = {}
    numbers = [items.setdefault(vote.item, len(items)) for vote in votes]
    keys = [crc32(f"{vote.user}:{vote.item[0]}".encode()) for vote in votes]
    limit = sorted(keys)[FITTED_VOTES - 1] if len(keys) > FITTED_VOTES else max(keys)
    return Ballot(
        np.array([users[vote.user] for vote in votes], np.int64),
        np.array(numbers, np.int64),
        np.array([vote.sign for vote in votes], np.float64),
        np.array([vote.offset for vote in votes], np.float64),
        build_matrix([(vote.item[1], vote.item[2]) for vote in votes]),
        np.array([crc32(f"user:{vote.user}".encode()) % FOLDS for vote in votes], np.int64),
        np.array([crc32(f"prompt:{vote.item[0]}".encode()) % FOLDS for vote in votes], np.int64),
        np.array([key <= limit for key in keys], np.int64),
    )


def _predict(ballot: Ballot, right: Floats) -> Floats:
    """Each vote's item as a model sees it that knows neither its prompt nor anything its user said."""
    if len(ballot.signs) < FEWEST_VOTES:
        return np.zeros(len(ballot.signs))
    weights = np.maximum(2 * right[ballot.users] - 1, 0.0)
    logits = np.zeros(len(ballot.signs))
    for user_fold in range(FOLDS):
        for prompt_fold in range(FOLDS):
            theirs = (ballot.user_folds == user_fold) & (ballot.prompt_folds == prompt_fold)
            others = (ballot.user_folds != user_fold) & (ballot.prompt_folds != prompt_fold) & (ballot.drawn == 1)
            if theirs.any() and others.any():
                theta = fit(ballot.matrix.select(others), ballot.signs[others], weights[others])
                logits[theirs] = ballot.matrix.select(theirs).multiply(theta)
    return logits


def _choose_temperature(logits: Floats, ballot: Ballot, right: Floats) -> float:
    """The one under which the votes are likeliest, if each is right with its user's probability."""
    r = right[ballot.users]

    def score(temperature: float) -> float:
        agrees = sigmoid(ballot.signs * temperature * logits)
        return round(float(np.bincount(np.zeros(len(r), np.int64), np.log(r * agrees + (1 - r) * (1 - agrees)))[0]), 6)

    return max(TEMPERATURES, key=score)


def _judge(ballot: Ballot, right: Floats, logits: Floats) -> Floats:
    """q: the probability that each vote is right."""
    r = right[ballot.users]
    says = ballot.signs * np.maximum(np.log(r / (1 - r)), 0.0)
    others = np.bincount(ballot.items, says)[ballot.items] - says
    p = sigmoid(ballot.signs * (logits + others + ballot.offsets))
    return r * p / (r * p + (1 - r) * (1 - p))


def _update(users: Integers, correct: Floats, count: int) -> Floats:
    totals = np.bincount(users, correct, count)
    votes = np.bincount(users, minlength=count)
    return np.round(np.clip((PRIOR[0] + totals) / (sum(PRIOR) + votes), 0.02, 0.98), 9)


def _describe(names: Sequence[str], users: Integers, correct: Floats, right: Floats) -> dict[str, Rater]:
    votes = np.bincount(users, minlength=len(names))
    a = PRIOR[0] + np.bincount(users, correct, len(names))
    b = sum(PRIOR) + votes - a
    below = np.round(stats.beta.cdf(0.5, a, b), 6)
    return {
        name: Rater(name, int(votes[at]), round_figure(float(right[at])), bool(below[at] >= CONTRARY))
        for at, name in enumerate(names)
    }
