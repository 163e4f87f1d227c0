"""Judgements as arrays, and what a preference model says of each that was fitted on other votes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

from services.curator.pairs.domain.rules import LABEL_RULES, PAIR_RULES
from services.curator.weighing.domain.preference_model import Floats, Integers, Matrix, build_matrix, fit
from services.curator.weighing.domain.votes import Judgement, is_modelled

RULES = tuple(sorted({rule.name: rule.epsilon for rule in (*LABEL_RULES, *PAIR_RULES)}.items()))
"""(name, prior epsilon), in order."""
FOLDS = 3
FITTED_VOTES = 20_000
"""A fair draw of this many votes is enough for the model, and bounds its cost."""
FEWEST_VOTES = 50
"""With fewer there is nothing to fit a model on."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class JudgementArrays:
    """One row for each judgement. Users are numbered; one more number stands for nobody known."""

    users: Integers
    others: Integers
    """The second user of a contrast of two, else nobody."""
    two: Mask
    items: Integers
    rules: Integers
    signs: Floats
    offsets: Floats
    by_position: Floats
    vote: Mask
    modelled: Mask
    matrix: Matrix
    user_folds: Integers
    prompt_folds: Integers
    drawn: Mask
    """Votes that the model may be fitted on."""
    nobody: int

    def total(self, values: Floats) -> Floats:
        """Add up by user, over votes alone; shape (users + 1,)."""
        return np.bincount(self.users, np.where(self.vote, values, 0.0), self.nobody + 1).astype(np.float64)


def add_rule_error(rows: JudgementArrays, wrong: Floats, error: Floats | float) -> Floats:
    """Add a rule's error and the position bias to the probability that those who judge are wrong."""
    both = wrong * (1 - error) + error * (1 - wrong)
    with_position: Floats = (rows.by_position + (1 - rows.by_position) * both) / (1 + rows.by_position)
    return with_position


def mix(p: Floats, wrong: Floats) -> Floats:
    """Calculate the likelihood of each judgement: p is the probability that its item is as it says."""
    return p * (1 - wrong) + (1 - p) * wrong


def count_judgements(judgements: Sequence[Judgement], users: Mapping[str, int]) -> JudgementArrays:
    """Number users (as given), items and rules."""
    items: dict[object, int] = {}
    rules = {name: number for number, (name, _) in enumerate(RULES)}
    nobody = len(users)
    keys = np.array([crc32(f"{one.user}:{one.item[0]}".encode()) for one in judgements], np.int64)
    vote = np.array([one.is_vote for one in judgements], np.bool_)
    voted = np.sort(keys[vote])
    limit = voted[FITTED_VOTES - 1] if len(voted) > FITTED_VOTES else 2**32
    number = [[users.get(user or "", nobody) for user in one.users] for one in judgements]
    return JudgementArrays(
        np.array([of[0] if of else nobody for of in number], np.int64),
        np.array([of[1] if len(of) > 1 else nobody for of in number], np.int64),
        np.array([len(of) > 1 for of in number], np.bool_),
        np.array([items.setdefault(one.item, len(items)) for one in judgements], np.int64),
        np.array([rules[one.rule] for one in judgements], np.int64),
        np.array([one.sign for one in judgements], np.float64),
        np.array([one.offset for one in judgements], np.float64),
        np.array([one.by_position for one in judgements], np.float64),
        vote,
        np.array([is_modelled(one) for one in judgements], np.bool_),
        build_matrix([(one.item[1], one.item[2]) for one in judgements]),
        np.array([crc32(f"user:{one.user}".encode()) % FOLDS for one in judgements], np.int64),
        np.array([crc32(f"prompt:{one.item[0]}".encode()) % FOLDS for one in judgements], np.int64),
        vote & (keys <= limit),
        nobody,
    )


def predict(rows: JudgementArrays, weights: Floats) -> Floats:
    """Predict each judgement's item (log-odds of its first text) without its prompt and its user's votes.

    `weights` says how far each vote vouches for what it says.
    """
    logits = np.zeros(len(rows.signs))
    if rows.vote.sum() < FEWEST_VOTES:
        return logits
    for user_fold in range(FOLDS):
        for prompt_fold in range(FOLDS):
            theirs = (rows.user_folds == user_fold) & (rows.prompt_folds == prompt_fold) & rows.modelled
            others = (rows.user_folds != user_fold) & (rows.prompt_folds != prompt_fold) & rows.drawn
            if theirs.any() and others.any():
                theta = fit(rows.matrix.select(others), rows.signs[others], weights[others])
                logits[theirs] = rows.matrix.select(theirs).multiply(theta)
    return logits
