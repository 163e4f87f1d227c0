"""Re-deriving prompt groups whose evidence changed."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.domain.pairing import Derived, derive_group
from services.curator.domain.rules import Answer
from services.curator.domain.standing import list_interactions
from services.curator.repository import derived, evidence
from shared.db import lock_all
from shared.events import FeedbackReceived


def derive_groups(session: Session, prompt_hashes: Collection[str]) -> None:
    """Derive the pairs and labels of these groups anew, each under its lock."""
    if not prompt_hashes:
        return
    lock_all(session, (f"prompt:{prompt_hash}" for prompt_hash in prompt_hashes))
    answers = {answer.interaction_id: answer for answer in evidence.load_group_answers(session, prompt_hashes)}
    events = evidence.load_attached(session, prompt_hashes)
    elsewhere = {key for event in events for key in list_interactions(event)} - answers.keys()
    everyone = answers | {answer.interaction_id: answer for answer in evidence.load_answers(session, elsewhere)}
    by_group: dict[str, list[FeedbackReceived]] = defaultdict(list)
    for event in events:
        by_group[everyone[event.interaction_id].prompt_hash].append(event)
    groups = {key: _derive(by_group.get(key, []), everyone) for key in sorted(prompt_hashes)}
    derived.replace_derived(session, groups)


def _derive(events: list[FeedbackReceived], everyone: Mapping[UUID, Answer]) -> Derived:
    needed = {key: everyone[key] for event in events for key in list_interactions(event) if key in everyone}
    return derive_group(needed, events)
