"""How likely each judgement is wrong: one likelihood for what users and what rules add to it.

A judgement of user u by rule k is right where both are, or neither: with probability
g(1 - e_k) + (1 - g)e_k for a user who is right with probability g, whatever the item (Dawid & Skene 1979, one coin per
user), and a rule that turns a right user's act into a wrong pair with probability e_k. A position bias comes on top.
What is right follows from the other votes on the same item and, since answers are rarely judged twice, from a small
preference model fitted on other users' votes on other prompts, whose log-odds are multiplied by a temperature.

Neither users nor rules have a fixed error. How reliable users are here is a distribution over a grid that the votes
show (Kiefer & Wolfowitz 1956; Laird 1978), held towards a Beta distribution as if `PRIOR_USERS` more users had been
seen; each rule's error likewise, held towards its prior (`rule_errors.py`). Expectation maximisation, a fixed number of
rounds:

    p_v = P(the item is as the judgement says | everything but the judgement itself)
    P(r_u = g) ~ w_g prod over u's votes of (q_vg p_v + (1 - q_vg)(1 - p_v)),  q_vg = P(right | g, its rule)
    w_g = (PRIOR_USERS prior_g + sum over users of P(r_u = g)) / (PRIOR_USERS + users)

The temperature is chosen, and each run of rounds begins, with the model as the only witness: users who agree with each
other and with nobody else cannot vouch for each other before it has spoken.

A judgement's epsilon is its posterior probability of being wrong, all of that being known, itself included.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from services.curator.weighing.domain.closed_groups import Standing, find_standing
from services.curator.weighing.domain.judgement_arrays import (
    JudgementArrays,
    Mask,
    add_rule_error,
    count_judgements,
    mix,
    predict,
)
from services.curator.weighing.domain.noise import round_figure
from services.curator.weighing.domain.preference_model import Floats, Integers, sigmoid
from services.curator.weighing.domain.rule_errors import PRIOR_ERRORS, estimate_rule_errors
from services.curator.weighing.domain.votes import Judgement, Key

GRID = (0.05, 0.15, 0.25, 0.35, 0.45, 0.5, 0.55, 0.65, 0.75, 0.85, 0.92, 0.965, 0.99)
"""What r_u may be. One half is there because guessing is common."""
CELLS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.475, 0.525, 0.6, 0.7, 0.8, 0.89, 0.945, 0.98, 1.0)
"""Where each of them begins and ends."""
RARE = 1e-9
PRIOR = np.maximum(np.round(np.diff(stats.beta.cdf(CELLS, 7.7, 1.3)), 9), RARE)
"""Of a user of whom nothing is known: a Beta distribution, over the grid."""
MIRRORED = np.maximum(np.round(np.diff(stats.beta.cdf(CELLS, 1.3, 7.7)), 9), RARE)
"""Of a user whose camp contradicts the others."""
PRIOR_MEAN = round(float(np.dot(GRID, PRIOR) / PRIOR.sum()), 4)
PRIOR_USERS = 10
FLOOR = 0.5
"""Nobody's word counts as its opposite."""
MODEL_ROUNDS = 3
POWER_ROUNDS = 20
PRIOR_MEETINGS = 1.0
"""As many agreements are taken as seen of each user."""
ROUNDS = 15
TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
MOST_SAID = 2.0
"""Log-odds: the model alone is never surer than that, so that it does not overrule a user who is seldom wrong."""
CONTRARY = 0.95
"""Posterior probability of being wrong more often than right, from which a user is called contrary."""


@dataclass(frozen=True, slots=True)
class Rater:
    user: str
    votes: int
    reliability: float
    contrary: bool


@dataclass(frozen=True)
class Doubt:
    """Of one judgement: the probability that it is wrong, taken by itself and with all that is known of its item."""

    alone: float
    known: float


@dataclass(frozen=True)
class Reliability:
    raters: Mapping[str, Rater]
    temperature: float
    """What the model's log-odds were multiplied by; 0 when it knows nothing that the votes confirm."""
    rule_errors: Mapping[str, float]
    """By rule: what it adds to its users' errors."""
    doubts: Mapping[Key, Doubt]
    closed_groups: Sequence[frozenset[str]] = ()
    """Users who judge what nobody else judges, and for whom nobody vouches."""


@dataclass(frozen=True)
class Crowd:
    """What is believed of users: a probability for each point of the grid, of each user and of the population."""

    of_users: Floats
    """Shape (points, users + 1); the last is nobody known, of whom the population is believed."""

    @property
    def right(self) -> Floats:
        """Return the posterior mean of each reliability, shape (users + 1,)."""
        return np.round(_add([g * of for g, of in zip(GRID, self.of_users, strict=True)]), 9)

    @property
    def below(self) -> Floats:
        return np.round(_add([of for g, of in zip(GRID, self.of_users, strict=True) if g < FLOOR]), 6)


def estimate_reliability(judgements: Sequence[Judgement], trusted: Collection[str] = frozenset()) -> Reliability:
    """Estimate users, rules and judgements together; the order of the judgements is that of `derive_judgements`.

    A person vouches for the users in `trusted`, also where nobody else judges what they judge.
    """
    if not judgements:
        return Reliability({}, 0.0, dict(PRIOR_ERRORS), {})
    names = sorted({one.user for one in judgements if one.is_vote})
    rows = count_judgements(judgements, {name: number for number, name in enumerate(names)})
    standing = find_standing(rows, [number for number, name in enumerate(names) if name in trusted])
    prior = np.where(standing.doubted, MIRRORED[:, None], PRIOR[:, None])
    population, right = prior, _compare_users(rows, standing.doubted)
    crowd = Crowd(prior)
    errors = np.array(list(PRIOR_ERRORS.values()))
    temperature, logits, p = 0.0, np.zeros(len(judgements)), np.zeros(len(judgements))
    for _ in range(MODEL_ROUNDS):
        vouched = np.where(standing.closed, 0.0, np.maximum(2 * right - 1, 0.0))
        logits = predict(rows, vouched[rows.users])
        temperature = _choose_temperature(rows, logits, errors, population, ~standing.closed)
        for _ in range(ROUNDS):
            p = _judge_items(rows, temperature * logits, _calculate_error(rows, right, errors), standing.closed)
            crowd = _judge_users(rows, p, errors, population)
            population, right = _update_population(crowd.of_users, prior, standing), crowd.right
            errors = estimate_rule_errors(rows, p, 1 - _find_right(rows, right))
    p = _judge_items(rows, temperature * logits, _calculate_error(rows, right, errors), standing.closed)
    alone = _calculate_error(rows, crowd.right, errors)
    known = _judge_judgements(rows, p, errors, crowd)
    doubts = {
        one.key: Doubt(round_figure(float(alone[at])), round_figure(float(known[at])))
        for at, one in enumerate(judgements)
    }
    rules = {name: round_figure(float(error)) for name, error in zip(PRIOR_ERRORS, errors, strict=True)}
    groups = [frozenset(names[user] for user in group) for group in standing.groups]
    return Reliability(_describe(names, rows.users[rows.vote], crowd), temperature, rules, doubts, groups)


def _compare_users(rows: JudgementArrays, doubted: Mask) -> Floats:
    """Find where to begin: how far each user agrees with those who agree with most, as a reliability.

    The power method on who agrees with whom, from everybody alike (Dalvi et al. 2013): two camps that contradict each
    other end apart, and the larger one is taken at its word. Those in doubt are not heard.
    """
    agreement = np.ones(rows.nobody + 1)
    for _ in range(POWER_ROUNDS):
        weight = np.where(rows.vote & ~doubted[rows.users], agreement[rows.users], 0.0)
        says, most = rows.signs * weight, np.abs(weight)
        others = rows.signs * (np.bincount(rows.items, says)[rows.items] - says)
        weights: Floats = np.bincount(rows.items, most)[rows.items].astype(np.float64) - most
        met, seen = rows.total(others), rows.total(weights)
        agreement = np.round((met + PRIOR_MEETINGS) / (seen + PRIOR_MEETINGS), 9)
    return np.where(doubted, 1 - PRIOR_MEAN, 0.5 + (PRIOR_MEAN - 0.5) * agreement)


def _find_right(rows: JudgementArrays, right: Floats) -> Floats:
    """Find how likely those who make each judgement are right; where one of two is, it is as good as a coin."""
    return np.where(rows.two, (right[rows.users] + right[rows.others]) / 2, right[rows.users])


def _calculate_error(rows: JudgementArrays, right: Floats, errors: Floats) -> Floats:
    return add_rule_error(rows, 1 - _find_right(rows, right), errors[rows.rules])


def _judge_items(rows: JudgementArrays, logits: Floats, wrong: Floats, closed: Mask) -> Floats:
    """Calculate p: the probability that each judgement's item is as it says, given everything but itself.

    The users of a closed group are no witnesses.
    """
    heard = rows.vote & ~closed[rows.users]
    says = np.where(heard, rows.signs * np.maximum(np.log((1 - wrong) / wrong), 0.0), 0.0)
    others = np.bincount(rows.items, says)[rows.items] - says
    known = np.clip(logits, -MOST_SAID, MOST_SAID)
    return sigmoid(rows.signs * (known + others + rows.offsets))


def _judge_with(rows: JudgementArrays, right: float, errors: Floats) -> Floats:
    """Calculate each judgement's error, were its user right with this probability."""
    return add_rule_error(rows, np.full(len(rows.signs), 1 - right), errors[rows.rules])


def _score_users(rows: JudgementArrays, p: Floats, errors: Floats) -> list[Floats]:
    """Calculate the log-likelihood of each point of the grid, for each user."""
    return [rows.total(np.log(mix(p, _judge_with(rows, g, errors)))) for g in GRID]


def _judge_users(rows: JudgementArrays, p: Floats, errors: Floats, population: Floats) -> Crowd:
    scores = np.log(population) + np.array(_score_users(rows, p, errors))
    unscaled = np.exp(scores - scores.max(axis=0))
    return Crowd(unscaled / _add(list(unscaled)))


def _update_population(posterior: Floats, prior: Floats, standing: Standing) -> Floats:
    """Update what is believed of a user before their own votes: shape (points, users + 1).

    It is alike for all whose camps are doubted, for all in closed groups, and for everybody else.
    """
    population = np.empty_like(prior)
    closed = standing.closed & ~standing.doubted
    for members in (standing.doubted, closed, ~(standing.doubted | closed)):
        if not members.any():
            continue
        users = int(members[:-1].sum())
        seen = np.array([np.bincount(np.zeros(users, np.int64), of, 1)[0] for of in posterior[:, :-1][:, members[:-1]]])
        shares = (PRIOR_USERS * prior[:, members][:, :1] + seen[:, None]) / (PRIOR_USERS + users)
        population[:, members] = np.maximum(np.round(shares, 12), 1e-12)
    return population


def _choose_temperature(
    rows: JudgementArrays, logits: Floats, errors: Floats, population: Floats, heard: Mask
) -> float:
    """Choose the temperature of greatest likelihood for the users who are heard, each drawn from the population."""

    def score(temperature: float) -> float:
        p = sigmoid(rows.signs * (temperature * logits + rows.offsets))
        scores = (np.array(_score_users(rows, p, errors)) + np.log(population))[:, :-1][:, heard[:-1]]
        highest = scores.max(axis=0)
        of_users = highest + np.log(_add(list(np.exp(scores - highest))))
        return round(float(np.bincount(np.zeros(len(of_users), np.int64), of_users, 1)[0]), 6)

    return max(TEMPERATURES, key=score)


def _judge_judgements(rows: JudgementArrays, p: Floats, errors: Floats, crowd: Crowd) -> Floats:
    """Calculate the probability that each judgement is wrong, given everything."""
    alone = _calculate_error(rows, crowd.right, errors)
    wrong = _reconsider(p, alone)
    parts = [
        of[rows.users] * _reconsider(p, _judge_with(rows, g, errors))
        for g, of in zip(GRID, crowd.of_users, strict=True)
    ]
    return np.where(rows.two, wrong, _add(parts))


def _reconsider(p: Floats, wrong: Floats) -> Floats:
    return (1 - p) * wrong / mix(p, wrong)


def _add(parts: Sequence[Floats]) -> Floats:
    """Add in order, so that the digits are the same everywhere."""
    total = np.zeros_like(parts[0])
    for part in parts:
        total = total + part
    return total


def _describe(names: Sequence[str], users: Integers, crowd: Crowd) -> dict[str, Rater]:
    votes = np.bincount(users, minlength=len(names))
    right, below = crowd.right, crowd.below
    return {
        name: Rater(name, int(votes[at]), round_figure(float(right[at])), bool(below[at] >= CONTRARY))
        for at, name in enumerate(names)
    }
