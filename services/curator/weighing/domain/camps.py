"""Camps: users who agree with each other more than with anybody else, each judged as one.

Few users vote often enough to be judged alone, and a group that keeps to prompts of its own confirms itself. So users
are divided into the modules of the graph of who agrees with whom (Louvain), and a camp's votes are held against a
preference model that was fitted on everybody else's.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

Link = tuple[int, int]


def find_doubted(rows: JudgementArrays) -> Mask:
    """Find the users, shape (users + 1,), whose camp contradicts what the others' votes teach.

    A camp that holds half of the votes or more is nobody's to doubt.
    """
    doubted = np.zeros(rows.nobody + 1, np.bool_)
    for camp in find_camps(rows):
        if compare_camp(rows, camp) < DOUBTED:
            doubted[camp] = True
    return doubted


def find_camps(rows: JudgementArrays) -> list[list[int]]:
    """Find camps of three users or more, as numbers."""
    return [camp for camp in find_modules(count_meetings(rows).agreed) if len(camp) >= CAMP_USERS]


@dataclass(frozen=True)
class Meetings:
    """Of users (two numbers, the lower first) who judged the same items."""

    met: Mapping[Link, int]
    """How often."""
    agreed: Mapping[Link, int]
    """How much more often they agreed than not."""


def count_meetings(rows: JudgementArrays) -> Meetings:
    voters: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in np.flatnonzero(rows.vote):
        voters[int(rows.items[row])].append((int(rows.users[row]), int(rows.signs[row])))
    met: dict[Link, int] = defaultdict(int)
    agreed: dict[Link, int] = defaultdict(int)
    for on_item in voters.values():
        for at, (user, sign) in enumerate(on_item):
            for other, their_sign in on_item[at + 1 : at + 1 + NEIGHBOURS]:
                link = min(user, other), max(user, other)
                met[link] += 1
                agreed[link] += sign * their_sign
    return Meetings(met, agreed)


def find_modules(links: Mapping[Link, int]) -> list[list[int]]:
    """Find the modules (Louvain) of the graph of all links with weights above zero."""
    graph = nx.Graph()
    for (one, other), weight in sorted(links.items()):
        if weight > 0:
            graph.add_edge(one, other, weight=weight)
    modules = nx.community.louvain_communities(graph, seed=SEED) if graph else []
    return sorted(sorted(module) for module in modules)


def compare_camp(rows: JudgementArrays, camp: Sequence[int]) -> float:
    """Compare a camp's votes with a model of everybody else's: standard deviations above even chances, over items.

    0 where nothing can be said: of a camp with a small share of the votes, or with half of them, and of few items.
    """
    members = np.zeros(rows.nobody + 1, np.bool_)
    members[list(camp)] = True
    theirs = members[rows.users] & rows.vote
    votes = rows.vote.sum()
    if votes < FEWEST_VOTES or not LEAST_SHARE * votes <= theirs.sum() < votes / 2:
        return 0.0
    return _compare(rows, theirs)


def _compare(rows: JudgementArrays, theirs: Mask) -> float:
    others = rows.drawn & ~np.isin(rows.items, rows.items[theirs])
    if others.sum() < FEWEST_VOTES:
        return 0.0
    ones = np.ones(len(rows.signs))
    theta = fit(rows.matrix.select(others), rows.signs[others], ones[others])
    expected = rows.matrix.select(theirs).multiply(theta)
    said = np.bincount(rows.items[theirs], rows.signs[theirs] * np.sign(expected))
    agreed, contradicted = int((said > 0).sum()), int((said < 0).sum())
    items = agreed + contradicted
    return float((agreed - contradicted) / np.sqrt(items)) if items >= FEWEST_ITEMS else 0.0
