"""Evidence comes in: stored once, parked while what it speaks of is unknown."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator import metrics
from services.curator.domain.arrivals import (
    ArrivedFeedback,
    ArrivedInteraction,
    Settled,
    assign_ids,
    find_earlier,
    settle,
)
from services.curator.domain.splitting import derive_cell, derive_split
from services.curator.domain.standing import list_interactions
from services.curator.repository import batches
from services.curator.repository.batches import StandingFeedback


def store_interactions(session: Session, arrived: Sequence[ArrivedInteraction]) -> set[str]:
    """Store interactions and attach what waited for them; the prompt groups to derive anew.

    The same id with another body: the one with the smaller content hash stands, the other is kept aside. A new
    interaction that nobody spoke of yet changes nothing in its group.
    """
    if not arrived:
        return set()
    settled = settle(arrived, batches.load_interaction_hashes(session, {item.key for item in arrived}))
    _store_prompts(session, [*settled.new, *settled.replacing])
    batches.copy_interactions(session, settled.new)
    touched = _replace_interactions(session, settled.replacing)
    _keep_aside(session, "interaction", settled)
    return touched | _attach_waiting(session, settled)


def _store_prompts(session: Session, arrived: Sequence[ArrivedInteraction]) -> None:
    messages = {item.prompt_hash: item.event.messages for item in arrived}
    missing = batches.list_missing_prompts(session, messages) if messages else set()
    if missing:
        cells = {prompt_hash: derive_cell(messages[prompt_hash]) for prompt_hash in missing}
        prompts = [(key, messages[key], cell, derive_split(cell)) for key, cell in cells.items()]
        batches.insert_prompts(session, prompts)


def _replace_interactions(session: Session, replacing: Sequence[ArrivedInteraction]) -> set[str]:
    """Put these in the place of what stands, which is kept aside; the groups of both."""
    if not replacing:
        return set()
    displaced = batches.load_interaction_bodies(session, [item.key for item in replacing])
    batches.keep_aside(session, [(key, content_hash, body) for key, content_hash, _, body in displaced])
    batches.replace_interactions(session, replacing)
    return {item.prompt_hash for item in replacing} | {prompt_hash for _, _, prompt_hash, _ in displaced}


def _keep_aside(session: Session, kind: str, settled: Settled[ArrivedInteraction] | Settled[ArrivedFeedback]) -> None:
    if conflicts := len(settled.replacing) + len(settled.aside):
        metrics.CONFLICTS.labels(kind).inc(conflicts)
    if settled.aside:
        batches.keep_aside(session, [(item.key, item.content_hash, item.event) for item in settled.aside])


def _attach_waiting(session: Session, settled: Settled[ArrivedInteraction]) -> set[str]:
    """Attach feedback that has all it needs now, also what had expired; the groups it belongs to."""
    waiting = batches.load_waiting(session, [item.key for item in (*settled.new, *settled.replacing)])
    if not waiting:
        return set()
    prompts = batches.load_prompts_of(session, {key for _, one, other, _ in waiting for key in (one, other or one)})
    attached = [
        (event_id, one, state)
        for event_id, one, other, state in waiting
        if one in prompts and (state == "attached" or (other or one) in prompts)
    ]
    if newly := [event_id for event_id, _, state in attached if state != "attached"]:
        batches.mark_attached(session, newly)
    return {prompts[one] for _, one, _ in attached}


def store_feedback(session: Session, arrived: Sequence[ArrivedFeedback]) -> set[str]:
    """Store feedback, parked if an interaction that it needs is unknown; the prompt groups to derive anew.

    A duplicate keeps the earliest `received_at`. The same id with another body: the smaller content hash stands.
    """
    if not arrived:
        return set()
    arrived, standing, moved = _make_room(session, arrived)
    settled = settle(arrived, {key: known.content_hash for key, known in standing.items()})
    displaced = batches.load_feedback_bodies(session, [item.key for item in settled.replacing])
    gone = {key for key, *_ in displaced}
    received = {key: (known.content_hash, known.received_at) for key, known in standing.items() if key not in gone}
    earlier = find_earlier(arrived, received)
    written = [*settled.new, *settled.replacing, *earlier]
    prompts = batches.load_prompts_of(
        session, {*_list_needed(written), *(interaction_id for _, _, interaction_id, _ in displaced)}
    )
    states = {
        item.key: "attached" if prompts.keys() >= set(list_interactions(item.event)) else "parked" for item in written
    }
    batches.copy_feedback(session, [(item, states[item.key]) for item in settled.new])
    if settled.replacing:
        batches.keep_aside(session, [(key, content_hash, body) for key, content_hash, _, body in displaced])
        batches.replace_feedback(session, [(item, states[item.key]) for item in settled.replacing])
    if earlier:
        batches.save_receptions(session, earlier)
    _keep_aside(session, "feedback", settled)
    touched = {interaction_id for _, _, interaction_id, _ in displaced}
    touched |= {item.event.interaction_id for item in written if states[item.key] == "attached"}
    return moved | {prompts[key] for key in touched if key in prompts}


def _make_room(
    session: Session, arrived: Sequence[ArrivedFeedback]
) -> tuple[Sequence[ArrivedFeedback], Mapping[UUID, StandingFeedback], set[str]]:
    """(the arrivals under the ids that they are to have, what stands under those, groups in which an id changed)."""
    standing = batches.load_feedback_standing(session, {item.key for item in arrived})
    assigned, given_up = assign_ids(arrived, {key: known.key_id for key, known in standing.items()})
    moved = batches.move_feedback(session, given_up) if given_up else set()
    if given_up or any(item.scoped for item in assigned):
        standing = batches.load_feedback_standing(session, {item.key for item in assigned})
    return assigned, standing, moved


def _list_needed(arrived: Iterable[ArrivedFeedback]) -> set[UUID]:
    return {key for item in arrived for key in list_interactions(item.event)}
