"""Derive prompt groups anew when their evidence changed."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.pairs.domain.pairing import Derived, derive_group
from services.curator.pairs.domain.rules import Answer
from services.curator.pairs.repository import load_answers, load_events, save_derived
from shared.db import lock_all
from shared.events import FeedbackReceived
from shared.feedback import list_interactions


def derive_groups(session: Session, prompt_hashes: Collection[str]) -> None:
    """Derive the pairs and labels of these groups anew, each under its lock, and write what changed."""
    if not prompt_hashes:
        return
    lock_all(session, (f"prompt:{prompt_hash}" for prompt_hash in prompt_hashes))
    save_derived(session, derive_stored(session, prompt_hashes))


def derive_stored(
    session: Session, prompt_hashes: Collection[str], set_aside: frozenset[UUID] = frozenset()
) -> dict[str, Derived]:
    """Derive what the stored evidence of each group yields, without the events that are set aside."""
    events = load_events(session, prompt_hashes)
    spoken_of = {key for event in events for key in list_interactions(event)}
    answers = {answer.interaction_id: answer for answer in load_answers(session, spoken_of)}
    by_group: dict[str, list[FeedbackReceived]] = defaultdict(list)
    for event in events:
        by_group[answers[event.interaction_id].prompt_hash].append(event)
    return {key: _derive(by_group.get(key, []), answers, set_aside) for key in sorted(prompt_hashes)}


def _derive(events: list[FeedbackReceived], answers: Mapping[UUID, Answer], set_aside: frozenset[UUID]) -> Derived:
    needed = {key: answers[key] for event in events for key in list_interactions(event) if key in answers}
    return derive_group(needed, events, set_aside)
