"""A script is no crowd: what many users of an import say, of each of whom nothing else is known, is said by one voice.

A file can name any number of users. Times prove nothing: a script writes what times it likes, and honest tools keep
none. What an invented crowd has in common is that each of its users says next to nothing: it is made of rows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.curator.weighing.domain.history import FeedbackRecord, History

FEW = 10
"""Who said fewer things in an import, and nothing to us, is a stranger: annotators are given more rows than that."""
MOST_STRANGERS = 50
"""A team, or a trial, has fewer; more of them are a crowd, honest or made up."""

Stranger = tuple[str, str]
"""(import, user)."""


def count_scripts_as_one(history: History) -> History:
    """Give one voice to the strangers of each import that has more than 50, where they could outvote anybody.

    - where more than 50 of them speak at one instant, which is what a file without times looks like
    - on prompts of which others speak, too: people whom we heard, other imports, those who said more

    What they said stays, and is trained on. Elsewhere they are users like any others.
    """
    strangers = _find_strangers(history.feedback)
    if not strangers:
        return history
    theirs = {event_id: one for event_id, one in history.feedback.items() if _name(one) in strangers}
    joined = _find_at_one_instant(theirs) | _find_beside_others(history, theirs)
    merged = {event_id: replace(theirs[event_id], user=_name_voice(theirs[event_id]), member=theirs[event_id].user)
              for event_id in joined}  # fmt: skip
    return replace(history, feedback={**history.feedback, **merged})


def _find_strangers(feedback: Mapping[UUID, FeedbackRecord]) -> set[Stranger]:
    """Find those of imports that have more than a team's number of them."""
    known = {one.user for one in feedback.values() if one.source is None}
    said = Counter(name for one in feedback.values() if (name := _name(one)) is not None)
    few = [name for name, times in said.items() if times < FEW and name[1] not in known]
    crowds = {source for source, users in Counter(source for source, _ in few).items() if users > MOST_STRANGERS}
    return {name for name in few if name[0] in crowds}


def _name(one: FeedbackRecord) -> Stranger | None:
    return (one.source, one.user) if one.source is not None and one.user is not None else None


def _name_voice(one: FeedbackRecord) -> str:
    return f"import:{one.source}"


def _find_at_one_instant(theirs: Mapping[UUID, FeedbackRecord]) -> set[UUID]:
    users: dict[tuple[str | None, datetime], set[str | None]] = defaultdict(set)
    for one in theirs.values():
        users[one.source, one.at].add(one.user)
    crowded = {place for place, found in users.items() if len(found) > MOST_STRANGERS}
    return {event_id for event_id, one in theirs.items() if (one.source, one.at) in crowded}


def _find_beside_others(history: History, theirs: Mapping[UUID, FeedbackRecord]) -> set[UUID]:
    """Find what they said on prompts of which others than they speak, too."""
    voices: dict[str, set[str | None]] = defaultdict(set)
    for item in history.items:
        voices[item.prompt_hash].update(_list_voices(item.evidence, history, theirs))
    shared = {prompt for prompt, found in voices.items() if len(found) > 1}
    return {
        event_id
        for item in history.items
        if item.prompt_hash in shared
        for event_id in item.evidence
        if event_id in theirs
    }


def _list_voices(
    evidence: Iterable[UUID], history: History, theirs: Mapping[UUID, FeedbackRecord]
) -> Iterable[str | None]:
    """List who speaks: an import's strangers together, anybody else as none of them."""
    return [_name_voice(theirs[one]) if one in theirs else None for one in evidence if one in history.feedback]
