"""A script is no crowd: what many users of an import said at one instant is the word of one."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.curator.weighing.domain.history import FeedbackRecord, History

MOST_AT_ONCE = 50
"""Users of one import at one time: a team of annotators whose tool kept no times is smaller, a made-up crowd larger."""


def count_scripts_as_one(history: History) -> History:
    """Give what more than 50 users of one import said at the very same time to one voter.

    Times that a source does not say are all the same, so an import without times has no crowd beyond that: neither the
    strength of claims nor anybody's reliability may rest on it. What was said stays, and is trained on.
    """
    crowds = _find_crowds(history.feedback)
    if not crowds:
        return history
    merged = {
        event_id: replace(one, user=f"import:{one.source}") if _place(one) in crowds and one.user is not None else one
        for event_id, one in history.feedback.items()
    }
    return replace(history, feedback=merged)


def _find_crowds(feedback: Mapping[UUID, FeedbackRecord]) -> set[tuple[str, datetime]]:
    users: dict[tuple[str, datetime], set[str]] = defaultdict(set)
    for one in feedback.values():
        if one.source is not None and one.user is not None:
            users[_place(one)].add(one.user)
    return {place for place, found in users.items() if len(found) > MOST_AT_ONCE}


def _place(one: FeedbackRecord) -> tuple[str, datetime]:
    return one.source or "", one.at
