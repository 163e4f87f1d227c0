"""Do users prefer what they were shown first?

Only where the order was drawn at random does a preference for one position say so. We draw it for the choices that we
ask for; what a front end reports of its own choices may be anything, and some always name the winner first.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from scipy import stats

from services.curator.pairs.domain.rules import CHOICE
from services.curator.weighing.domain.history import FeedbackRecord, History, PairEvidence
from services.curator.weighing.domain.noise import round_figure

PRIOR_CHOICES = 50
"""As many choices as this, evenly spread, are taken as seen before the first one."""
LARGEST_SHARE = 0.8
"""No more choices than this go to one position because of people, even if half of them look at nothing else."""
FALSE_ALARM = 1e-3
"""Probability that an API key whose orders are random, and whose users are that biased, is taken for one that sorts."""


@dataclass(frozen=True)
class PositionBias:
    """A share `strength` of all choices went by position alone, to the `favoured` one."""

    choices: int
    first_preferred: int
    favoured: str
    strength: float
    sorted_by: tuple[str, ...] = ()
    """API keys whose orders follow from the choice: they tell nothing."""


def is_first_preferred(pair: PairEvidence, history: History) -> bool | None:
    """Say whether the answer shown first was preferred; None unless the pair is a choice with known order."""
    if pair.rule != CHOICE.name or pair.evidence[0] not in history.feedback:
        return None
    choice = history.feedback[pair.evidence[0]]
    if choice.imported or choice.first is None or choice.first not in (pair.chosen_id, pair.rejected_id):
        return None
    return choice.first == pair.chosen_id


def fit_position_bias(pairs: Iterable[PairEvidence], history: History) -> PositionBias:
    """Estimate the bias from how often the first answer was preferred, shrunk towards one half.

    - of choices that we asked for, so that the order was drawn at random
    - none of an API key that sorts

    With a share b that goes by position alone, the favoured position is preferred in (1 + b) / 2 of the cases.
    """
    known = [
        (history.feedback[pair.evidence[0]], first)
        for pair in pairs
        if (first := is_first_preferred(pair, history)) is not None
    ]
    sorting = find_sorting_keys(known)
    preferences = [first for choice, first in known if choice.solicited and choice.key_id not in sorting]
    share = (sum(preferences) + PRIOR_CHOICES / 2) / (len(preferences) + PRIOR_CHOICES)
    favoured = "first" if share >= 0.5 else "second"
    strength = round_figure(abs(2 * share - 1))
    return PositionBias(len(preferences), sum(preferences), favoured, strength, tuple(sorted(sorting)))


def find_sorting_keys(choices: Iterable[tuple[FeedbackRecord, bool]]) -> frozenset[str]:
    """Find API keys whose choices go to one position more often than people's bias explains.

    `choices` are (a choice, whether the answer shown first was preferred). Keys with so few that nothing would be found
    out of any alone are judged together.
    """
    preferences: dict[str, list[bool]] = defaultdict(list)
    for choice, first in choices:
        preferences[choice.key_id].append(first)
    few = {key for key, found in preferences.items() if not _is_sorted(len(found), len(found))}
    together = [first for key in few for first in preferences[key]]
    alone = {key for key, found in preferences.items() if _is_sorted(sum(found), len(found))}
    return frozenset(alone | few if _is_sorted(sum(together), len(together)) else alone)


def _is_sorted(first_preferred: int, choices: int) -> bool:
    most = max(first_preferred, choices - first_preferred)
    return bool(stats.binom.sf(most - 1, choices, LARGEST_SHARE) < FALSE_ALARM)


def find_favoured_strength(pair: PairEvidence, history: History, bias: PositionBias) -> float:
    """Find how strongly position speaks for what a choice preferred: 0 if it stood in the other place, or nobody knows.

    Nobody knows of a choice whose API key sorts. With either answer as likely the better one and an error e without the
    bias, P(wrong | favoured position preferred) = (b + (1 - b) e) / (1 + b), and e for the other position.
    """
    first = is_first_preferred(pair, history)
    if first is None or history.feedback[pair.evidence[0]].key_id in bias.sorted_by:
        return 0.0
    return bias.strength if first == (bias.favoured == "first") else 0.0
