"""Judgements of different users, each measured from the user's own mean (user-mean centring)."""

from collections.abc import Mapping
from uuid import UUID

from services.curator.pairs.domain.rules import CROSS_USER_CONTRAST
from services.curator.weighing.domain.history import FeedbackRecord, PairEvidence

PRIOR_JUDGEMENTS = 4
"""As many judgements as this, at everyone's mean, are taken as seen of each user."""
LEAST_DISTANCE = 0.5
"""Half a scale. An up against a down between two users with the same mean leaves 1; between one who only praises and
one who only blames, next to nothing."""


def calculate_user_means(feedback: Mapping[UUID, FeedbackRecord]) -> tuple[dict[str, float], float]:
    """Calculate (each user's mean judgement, 0 to 1, shrunk towards everyone's; everyone's)."""
    judged = sorted(
        ((one.user, one.value) for one in feedback.values() if one.user is not None and one.value is not None),
    )
    everyone = sum(value for _, value in judged) / len(judged) if judged else 0.5
    totals: dict[str, list[float]] = {}
    for user, value in judged:
        totals.setdefault(user, []).append(value)
    means = {
        user: (sum(values) + PRIOR_JUDGEMENTS * everyone) / (len(values) + PRIOR_JUDGEMENTS)
        for user, values in totals.items()
    }
    return means, everyone


def assess_user_centred(
    pair: PairEvidence,
    liked: list[FeedbackRecord],
    disliked: list[FeedbackRecord],
    means: Mapping[str, float],
    everyone: float,
) -> str | None:
    """Say why a contrast of different users does not hold once each user's mean is taken off, or None."""
    if pair.rule != CROSS_USER_CONTRAST.name:
        return None
    distance = _average_centred(liked, means, everyone) - _average_centred(disliked, means, everyone)
    return None if distance >= LEAST_DISTANCE else "own_yardsticks"


def _average_centred(judgements: list[FeedbackRecord], means: Mapping[str, float], everyone: float) -> float:
    centred = [(one.value or 0.0) - means.get(one.user or "", everyone) for one in judgements]
    return sum(sorted(centred)) / len(centred) if centred else 0.0
