"""How far each user's word can be relied upon: one coin for each user, all coins from one population.

User u is right about an item with probability r_u, whatever the item (Dawid & Skene 1979, one coin per user). What is
right follows from the other votes on the same item and, since answers are rarely judged twice, from a small preference
model that was fitted on other users' votes on other prompts. The prior of r_u is not fixed: it is how reliable users
are here, a distribution over a grid that the votes themselves show (Kiefer & Wolfowitz 1956; Laird 1978), held towards
a Beta distribution as if `PRIOR_USERS` more users had been seen. So where half of the users guess, a few disagreements
count for much, and where everybody is right they are taken for bad luck. Expectation maximisation, a fixed number of
rounds:

    p_v = P(the vote is right | everything but the vote itself)
    P(r_u = g) ~ w_g prod over u's votes of (g p_v + (1 - g)(1 - p_v))
    w_g = (PRIOR_USERS prior_g + sum over users of P(r_u = g)) / (PRIOR_USERS + users)

r_u is the posterior mean. Where nothing else is known p_v is 1/2, and the user stays where the population puts them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from scipy import stats

from services.curator.weighing.domain.noise import remove_error, round_figure
from services.curator.weighing.domain.preference_model import Floats, Integers, Matrix, build_matrix, fit, sigmoid
from services.curator.weighing.domain.votes import RaterVote

GRID = (0.05, 0.15, 0.25, 0.35, 0.45, 0.5, 0.55, 0.65, 0.75, 0.85, 0.95)
"""What r_u may be. One half is there because guessing is common."""
CELLS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.475, 0.525, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Where each of them begins and ends."""
PRIOR = tuple(float(share) for share in np.round(np.diff(stats.beta.cdf(CELLS, 7.7, 1.3)), 9))
"""Of a user of whom nothing is known: a Beta distribution, over the grid."""
PRIOR_MEAN = round(sum(g * share for g, share in zip(GRID, PRIOR, strict=True)) / sum(PRIOR), 4)
PRIOR_USERS = 10
FLOOR = 0.5
"""Nobody's word counts as its opposite."""
FOLDS = 3
MODEL_ROUNDS = 3
ROUNDS = 15
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
        """Calculate the error beyond what a rule's epsilon, an average over all users, contains already."""
        return remove_error(1 - max(self.reliability, FLOOR), 1 - PRIOR_MEAN)


@dataclass(frozen=True)
class Reliability:
    raters: Mapping[str, Rater]
    temperature: float
    """What the model's log-odds were multiplied by; 0 when it knows nothing that the votes confirm."""

    def find_excess(self, user: str | None) -> float:
        """Find a user's excess error; 0 for an anonymous user, and for one without votes."""
        rater = self.raters.get(user) if user is not None else None
        return rater.excess_error if rater else 0.0


@dataclass(frozen=True)
class VoteArrays:
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


@dataclass(frozen=True)
class RaterEstimates:
    """By user: the posterior mean of the reliability, and the probability that it is below one half."""

    right: Floats
    below: Floats


def estimate_reliability(votes: Sequence[RaterVote]) -> Reliability:
    """Estimate every voting user's reliability; the order of the votes is that of `derive_votes`."""
    if not votes:
        return Reliability({}, 0.0)
    names = sorted({vote.user for vote in votes})
    ballot = _count_votes(votes, {name: number for number, name in enumerate(names)})
    population = np.array(PRIOR)
    crowd = RaterEstimates(np.full(len(names), PRIOR_MEAN), np.zeros(len(names)))
    temperature = 0.0
    for _ in range(MODEL_ROUNDS):
        logits = _predict(ballot, crowd.right)
        temperature = _choose_temperature(logits, ballot, crowd.right)
        for _ in range(ROUNDS):
            posterior = _judge_users(ballot, _judge_votes(ballot, crowd.right, temperature * logits), population)
            population = _update_population(posterior)
            crowd = _estimate_raters(posterior)
    return Reliability(_describe(names, ballot.users, crowd), temperature)


def _count_votes(votes: Sequence[RaterVote], users: Mapping[str, int]) -> VoteArrays:
    items: dict[object, int] = {}
    numbers = [items.setdefault(vote.item, len(items)) for vote in votes]
    keys = [crc32(f"{vote.user}:{vote.item[0]}".encode()) for vote in votes]
    limit = sorted(keys)[FITTED_VOTES - 1] if len(keys) > FITTED_VOTES else max(keys)
    return VoteArrays(
        np.array([users[vote.user] for vote in votes], np.int64),
        np.array(numbers, np.int64),
        np.array([vote.sign for vote in votes], np.float64),
        np.array([vote.offset for vote in votes], np.float64),
        build_matrix([(vote.item[1], vote.item[2]) for vote in votes]),
        np.array([crc32(f"user:{vote.user}".encode()) % FOLDS for vote in votes], np.int64),
        np.array([crc32(f"prompt:{vote.item[0]}".encode()) % FOLDS for vote in votes], np.int64),
        np.array([key <= limit for key in keys], np.int64),
    )


def _predict(ballot: VoteArrays, right: Floats) -> Floats:
    """Predict each vote's item (log-odds) by a model fitted without its prompt and its user's votes."""
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


def _choose_temperature(logits: Floats, ballot: VoteArrays, right: Floats) -> float:
    """Choose the temperature of greatest likelihood, if each vote is right with its user's probability."""
    r = right[ballot.users]

    def score(temperature: float) -> float:
        agrees = sigmoid(ballot.signs * temperature * logits)
        return round(float(np.bincount(np.zeros(len(r), np.int64), np.log(r * agrees + (1 - r) * (1 - agrees)))[0]), 6)

    return max(TEMPERATURES, key=score)


def _judge_votes(ballot: VoteArrays, right: Floats, logits: Floats) -> Floats:
    """Calculate p: the probability that each vote is right, given everything but itself."""
    r = right[ballot.users]
    says = ballot.signs * np.maximum(np.log(r / (1 - r)), 0.0)
    others = np.bincount(ballot.items, says)[ballot.items] - says
    return sigmoid(ballot.signs * (logits + others + ballot.offsets))


def _judge_users(ballot: VoteArrays, p: Floats, population: Floats) -> list[Floats]:
    """Calculate, for each point of the grid, the probability that it is each user's reliability."""
    scores = [
        np.log(share) + np.bincount(ballot.users, np.log(g * p + (1 - g) * (1 - p)))
        for g, share in zip(GRID, population, strict=True)
    ]
    highest = np.maximum.reduce(scores)
    unscaled = [np.exp(score - highest) for score in scores]
    total = _add(unscaled)
    return [part / total for part in unscaled]


def _add(parts: Sequence[Floats]) -> Floats:
    """Add in order, so that the digits are the same everywhere."""
    total = np.zeros_like(parts[0])
    for part in parts:
        total = total + part
    return total


def _update_population(posterior: Sequence[Floats]) -> Floats:
    nobody = np.zeros(len(posterior[0]), np.int64)
    seen = np.array([np.bincount(nobody, of_users)[0] for of_users in posterior])
    shares: Floats = np.round((PRIOR_USERS * np.array(PRIOR) + seen) / (PRIOR_USERS + len(nobody)), 12)
    return np.maximum(shares, 1e-12)


def _estimate_raters(posterior: Sequence[Floats]) -> RaterEstimates:
    right = _add([g * of_users for g, of_users in zip(GRID, posterior, strict=True)])
    below = _add([of_users for g, of_users in zip(GRID, posterior, strict=True) if g < FLOOR])
    return RaterEstimates(np.round(right, 9), np.round(below, 6))


def _describe(names: Sequence[str], users: Integers, crowd: RaterEstimates) -> dict[str, Rater]:
    votes = np.bincount(users, minlength=len(names))
    return {
        name: Rater(name, int(votes[at]), round_figure(float(crowd.right[at])), bool(crowd.below[at] >= CONTRARY))
        for at, name in enumerate(names)
    }
