"""Edits that too many people write: the same phrases inserted, whatever stands around them.

A team that pastes one answer cannot be told from a few people who push one, so a text that few insert stands, and a
snapshot caps its share. Many who insert it, or callers without a name, are set aside until a person has looked.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from uuid import UUID

from services.curator.pairs.domain.rules import EDIT
from services.curator.pairs.domain.wording import derive_units
from services.curator.weighing.domain.history import FeedbackRecord, History

PHRASE_UNITS = 4
TEXT_UNITS = 6
"""Shorter edits are alike by chance."""
FEW = 10
"""So many may insert one phrase, however few people there are; so many anonymous edits may."""
COVERED = 1 / 3
"""Share of what an edit inserts that has to be phrases of too many people. A closing line alone is less."""

Phrases = frozenset[tuple[str, ...]]


def find_copied_text(history: History) -> set[UUID]:
    """Find edits of which a third or more of what they insert is inserted by too many.

    - too many users: more than 10, and more than 2 sqrt(n) of the n users there are (49 of 600, 200 of 10,000)
    - too many anonymous edits: more than 10, for each may be anybody's
    - what the corrected answer said already is not inserted
    """
    inserted = _collect_insertions(history)
    named, anonymous = _count_makers(inserted, history.feedback)
    users = len({one.user for one in history.feedback.values() if one.user is not None})
    most = max(FEW, 2 * math.sqrt(users))
    popular = {phrase for phrase, makers in named.items() if len(makers) > most}
    popular |= {phrase for phrase, edits in anonymous.items() if edits > FEW}
    return {event_id for event_id, phrases in inserted.items() if len(phrases & popular) >= COVERED * len(phrases)}


def _collect_insertions(history: History) -> dict[UUID, Phrases]:
    """Collect what each edit inserts, if it is long enough to be told from others."""
    corrected = {pair.evidence[0]: pair.rejected for pair in history.pairs if pair.rule == EDIT.name}
    insertions = {}
    for event_id, one in sorted(history.feedback.items()):
        units = derive_units(one.text or "")
        phrases = _derive_phrases(units) - _derive_phrases(derive_units(corrected.get(event_id, "")))
        if len(units) >= TEXT_UNITS and phrases:
            insertions[event_id] = phrases
    return insertions


def _derive_phrases(units: list[str]) -> Phrases:
    return frozenset(tuple(units[at : at + PHRASE_UNITS]) for at in range(len(units) - PHRASE_UNITS + 1))


def _count_makers(
    inserted: Mapping[UUID, Phrases], feedback: Mapping[UUID, FeedbackRecord]
) -> tuple[dict[tuple[str, ...], set[str]], dict[tuple[str, ...], int]]:
    """Count (users, anonymous edits) by phrase."""
    named: dict[tuple[str, ...], set[str]] = defaultdict(set)
    anonymous: dict[tuple[str, ...], int] = defaultdict(int)
    for event_id, phrases in inserted.items():
        user = feedback[event_id].user
        for phrase in phrases:
            if user is None:
                anonymous[phrase] += 1
            else:
                named[phrase].add(user)
    return named, anonymous
