"""Closed groups: users who judge next to nothing that anybody else judges, so that only they vouch for each other.

A group like that may be a team with a topic of its own, or colluders who keep to prompts that they made up: nothing in
their votes tells one from the other. Where a model of everybody else's votes says that they are right, they are
believed; where it says that they are wrong, they are doubted as a camp; where it says nothing, a snapshot caps what
they move.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from services.curator.weighing.domain.camps import (
    DOUBTED,
    LEAST_SHARE,
    Link,
    compare_camp,
    count_meetings,
    find_doubted,
    find_modules,
)
from services.curator.weighing.domain.judgement_arrays import JudgementArrays, Mask

OUTSIDE = 0.1
"""A group meets others in less than this share of its meetings."""
MEETINGS_PER_USER = 2
"""Users who meet by chance, and seldom, form chains that meet nobody else: one meeting for each of them."""
VOUCHED = 3.0
"""Standard deviations above even chances, from which the others' model vouches for a group."""


@dataclass(frozen=True)
class Standing:
    """What is known of users before their own votes are looked at, as masks of shape (users + 1,)."""

    doubted: Mask
    """Their camp contradicts the others."""
    groups: Sequence[Sequence[int]]
    """Closed groups that nobody vouches for."""
    closed: Mask
    """Those who are in one."""


def find_standing(rows: JudgementArrays, trusted: Iterable[int]) -> Standing:
    """Find users whose camp or closed group is doubted, and the closed groups for which nobody vouches.

    A person vouches for the users in `trusted`. The group with most votes is never one of these.
    """
    doubted, closed = find_doubted(rows), np.zeros(rows.nobody + 1, np.bool_)
    groups = []
    for group in find_closed_groups(rows):
        agreement = compare_camp(rows, group)
        if agreement < DOUBTED:
            doubted[group] = True
        elif agreement < VOUCHED:
            groups.append([user for user in group if not doubted[user] and user not in set(trusted)])
            closed[groups[-1]] = True
    return Standing(doubted, groups, closed)


def find_closed_groups(rows: JudgementArrays) -> list[list[int]]:
    """Find closed groups that hold a share of the votes worth looking at, but for the one with most votes."""
    met = count_meetings(rows).met
    votes = np.bincount(rows.users[rows.vote], minlength=rows.nobody + 1)
    group_of = join_modules(find_modules(met), met)
    groups: dict[int, list[int]] = defaultdict(list)
    for user, number in sorted(group_of.items()):
        groups[number].append(user)
    inside = count_between(group_of, met)
    largest = max(groups, key=lambda number: (int(votes[groups[number]].sum()), -number), default=None)
    return [
        group
        for number, group in groups.items()
        if number != largest
        and votes[group].sum() >= LEAST_SHARE * votes.sum()
        and inside[number][number] >= MEETINGS_PER_USER * len(group)
    ]


def join_modules(modules: Sequence[Sequence[int]], met: Mapping[Link, int]) -> dict[int, int]:
    """Join modules with those that they meet most until each meets few others: user -> number of the group."""
    group_of = {user: number for number, module in enumerate(modules) for user in module}
    while moves := _find_moves(count_between(group_of, met)):
        joined = {old: min(part) for part in nx.connected_components(nx.Graph(moves)) for old in part}
        group_of = {user: joined.get(number, number) for user, number in group_of.items()}
    return group_of


def count_between(group_of: Mapping[int, int], met: Mapping[Link, int]) -> dict[int, Counter[int]]:
    """Count how often the users of each group met those of each."""
    between: dict[int, Counter[int]] = defaultdict(Counter)
    for (one, other), times in met.items():
        ours, theirs = group_of[one], group_of[other]
        between[ours][theirs] += times
        if ours != theirs:
            between[theirs][ours] += times
    return between


def _find_moves(between: Mapping[int, Counter[int]]) -> list[tuple[int, int]]:
    """Find for each group that is not closed the one that it meets most."""
    moves = []
    for number, links in sorted(between.items()):
        others = {other: times for other, times in links.items() if other != number}
        if others and sum(others.values()) >= OUTSIDE * links.total():
            moves.append((number, max(others, key=lambda other: (others[other], -other))))
    return moves
