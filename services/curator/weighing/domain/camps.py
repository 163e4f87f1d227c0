"""Camps: users who agree with each other more than with anybody else, each judged as one.

Few users vote often enough to be judged alone, and a group that keeps to prompts of its own confirms itself. So users
are divided into the modules of the graph of who agrees with whom (Louvain), and a camp's votes are held against a
preference model that was fitted on everybody else's.
"""

from collections import defaultdict
from collections.abc import Mapping

import networkx as nx
import numpy as np

from services.curator.weighing.domain.judgement_arrays import FEWEST_VOTES, JudgementArrays, Mask
from services.curator.weighing.domain.preference_model import fit

CAMP_USERS = 3
LEAST_SHARE = 0.03
"""Of all votes. What has less moves little, and is judged user by user."""
NEIGHBOURS = 20
"""Each voter on an item is linked with so many others, next in order: an item that everybody judges costs no square."""
SEED = 1
FEWEST_ITEMS = 20
DOUBTED = -3.5
"""Standard deviations below even chances, from which a camp as a whole is taken to contradict the others."""


def find_doubted(rows: JudgementArrays) -> Mask:
    """Find the users, shape (users + 1,), whose camp contradicts what the others' votes teach.

    A camp that holds half of the votes or more is nobody's to doubt.
    """
    doubted = np.zeros(rows.nobody + 1, np.bool_)
    if rows.vote.sum() < FEWEST_VOTES:
        return doubted
    for camp in find_camps(rows):
        members = np.zeros(rows.nobody + 1, np.bool_)
        members[camp] = True
        theirs = members[rows.users] & rows.vote
        if LEAST_SHARE * rows.vote.sum() <= theirs.sum() < rows.vote.sum() / 2 and _compare(rows, theirs) < DOUBTED:
            doubted |= members
    return doubted


def find_camps(rows: JudgementArrays) -> list[list[int]]:
    """Find camps of three users or more, as numbers."""
    graph = nx.Graph()
    for (one, other), agreed in sorted(_count_agreements(rows).items()):
        if agreed > 0:
            graph.add_edge(one, other, weight=agreed)
    if not graph:
        return []
    modules = nx.community.louvain_communities(graph, seed=SEED)
    return sorted(sorted(camp) for camp in modules if len(camp) >= CAMP_USERS)


def _count_agreements(rows: JudgementArrays) -> Mapping[tuple[int, int], int]:
    """Count, for users who met, how much more often they agreed than not."""
    met: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in np.flatnonzero(rows.vote):
        met[int(rows.items[row])].append((int(rows.users[row]), int(rows.signs[row])))
    agreements: dict[tuple[int, int], int] = defaultdict(int)
    for voters in met.values():
        for at, (user, sign) in enumerate(voters):
            for other, their_sign in voters[at + 1 : at + 1 + NEIGHBOURS]:
                agreements[min(user, other), max(user, other)] += sign * their_sign
    return agreements


def _compare(rows: JudgementArrays, theirs: Mask) -> float:
    """Compare a camp's votes with a model of the others': standard deviations above even chances, over items."""
    others = rows.drawn & ~theirs
    if others.sum() < FEWEST_VOTES:
        return 0.0
    ones = np.ones(len(rows.signs))
    theta = fit(rows.matrix.select(others), rows.signs[others], ones[others])
    expected = rows.matrix.select(theirs).multiply(theta)
    said = np.bincount(rows.items[theirs], rows.signs[theirs] * np.sign(expected))
    agreed, contradicted = int((said > 0).sum()), int((said < 0).sum())
    items = agreed + contradicted
    return float((agreed - contradicted) / np.sqrt(items)) if items >= FEWEST_ITEMS else 0.0
