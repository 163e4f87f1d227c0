"""Contrary users: careless, hostile, or of another preference? Those contrary in the same way form a cluster."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.curator.weighing.domain.noise import round_figure
from services.curator.weighing.domain.preference_model import FEATURES, Floats, build_matrix
from services.curator.weighing.domain.reliability import Reliability
from services.curator.weighing.domain.votes import Judgement

LEAST_COSINE = 0.3
"""Two users belong to one cluster when the cosine of their directions is at least this."""
SHOWN_PROMPTS = 5


@dataclass(frozen=True)
class PreferenceCluster:
    """A cluster of contrary users. `agreement` is their mean cosine: near 0 for carelessness, high for a preference.

    `prompts` are hashes of those on which they said most.
    """

    users: tuple[str, ...]
    votes: int
    mean_reliability: float
    agreement: float
    prompts: tuple[str, ...]


def cluster_contrary_users(votes: Sequence[Judgement], reliability: Reliability) -> list[PreferenceCluster]:
    """Cluster contrary users, the largest cluster first; a user without neighbours is a cluster of one."""
    contrary = sorted(name for name, rater in reliability.raters.items() if rater.contrary)
    theirs: dict[str, list[Judgement]] = defaultdict(list)
    for vote in votes:
        if vote.user in set(contrary):
            theirs[vote.user].append(vote)
    directions = {user: _calculate_direction(theirs[user]) for user in contrary}
    clusters: list[list[str]] = []
    for user in contrary:
        nearest = max(clusters, key=lambda cluster: _compare(user, cluster, directions), default=None)
        if nearest is not None and _compare(user, nearest, directions) >= LEAST_COSINE:
            nearest.append(user)
        else:
            clusters.append([user])
    found = [_describe(cluster, theirs, directions, reliability) for cluster in clusters]
    return sorted(found, key=lambda cluster: (-len(cluster.users), cluster.users))


def _calculate_direction(votes: Sequence[Judgement]) -> Floats:
    """Calculate the unit vector, shape (FEATURES,), of the features that a user's votes favour."""
    matrix = build_matrix([(vote.item[1], vote.item[2]) for vote in votes])
    signs = np.array([vote.sign for vote in votes], np.float64)
    total: Floats = np.bincount(matrix.columns, matrix.values * signs[matrix.rows], FEATURES).astype(np.float64)
    unit: Floats = total / max(_norm(total), 1e-9)
    return unit


def _norm(vector: Floats) -> float:
    return float(np.sqrt(_dot(vector, vector)))


def _dot(one: Floats, other: Floats) -> float:
    return float(np.bincount(np.zeros(FEATURES, np.int64), one * other)[0])


def _compare(user: str, cluster: Sequence[str], directions: dict[str, Floats]) -> float:
    return round_figure(sum(_dot(directions[user], directions[other]) for other in cluster) / len(cluster))


def _describe(
    cluster: Sequence[str], votes: dict[str, list[Judgement]], directions: dict[str, Floats], reliability: Reliability
) -> PreferenceCluster:
    pairs = [(one, other) for at, one in enumerate(cluster) for other in cluster[at + 1 :]]
    agreement = sum(_dot(directions[one], directions[other]) for one, other in pairs) / len(pairs) if pairs else 0.0
    spoken = Counter(vote.item[0] for user in cluster for vote in votes[user])
    prompts = sorted(spoken, key=lambda prompt: (-spoken[prompt], prompt))[:SHOWN_PROMPTS]
    mean = sum(reliability.raters[user].reliability for user in cluster) / len(cluster)
    count = sum(len(votes[user]) for user in cluster)
    return PreferenceCluster(tuple(cluster), count, round_figure(mean), round_figure(agreement), tuple(prompts))
