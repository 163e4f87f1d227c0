"""Do users prefer what they were shown first?"""

from collections.abc import Iterable
from dataclasses import dataclass

from services.curator.pairs.domain.rules import CHOICE
from services.curator.weighing.domain.history import History, PairEvidence
from services.curator.weighing.domain.noise import round_figure

PRIOR_CHOICES = 50
"""As many choices as this, evenly spread, are taken as seen before the first one."""


@dataclass(frozen=True)
class PositionBias:
    """A share `strength` of all choices went by position alone, to the `favoured` one."""

    choices: int
    first_preferred: int
    favoured: str
    strength: float


def is_first_preferred(pair: PairEvidence, history: History) -> bool | None:
    """Say whether the answer shown first was preferred; None unless the pair is a choice with known order."""
    if pair.rule != CHOICE.name or pair.evidence[0] not in history.feedback:
        return None
    first = history.feedback[pair.evidence[0]].first
    if first not in (pair.chosen_id, pair.rejected_id) or first is None:
        return None
    return first == pair.chosen_id


def fit_position_bias(pairs: Iterable[PairEvidence], history: History) -> PositionBias:
    """Estimate the bias from how often the first answer was preferred, shrunk towards one half.

    With a share b that goes by position alone, the favoured position is preferred in (1 + b) / 2 of the cases, if the
    order was drawn at random.
    """
    preferences = [first for pair in pairs if (first := is_first_preferred(pair, history)) is not None]
    share = (sum(preferences) + PRIOR_CHOICES / 2) / (len(preferences) + PRIOR_CHOICES)
    favoured = "first" if share >= 0.5 else "second"
    return PositionBias(len(preferences), sum(preferences), favoured, round_figure(abs(2 * share - 1)))


def correct_for_position(epsilon: float, first_preferred: bool | None, bias: PositionBias) -> float:
    """Correct the epsilon of a choice for where its preferred answer was shown.

    By Bayes, with either answer as likely the better one: P(wrong | favoured position preferred) =
    (b + (1 - b) e) / (1 + b), and e for the other position.
    """
    if first_preferred is None or first_preferred != (bias.favoured == "first"):
        return epsilon
    return (bias.strength + (1 - bias.strength) * epsilon) / (1 + bias.strength)
