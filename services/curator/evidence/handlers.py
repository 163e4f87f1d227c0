"""Take evidence in: redact it, drop what belongs to erased users, store it once, park what came too early."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.config import metrics
from services.curator.evidence.adapters.redaction import redact_feedback, redact_interaction
from services.curator.evidence.domain.deduplication import (
    Deduplicated,
    ReceivedFeedback,
    ReceivedInteraction,
    assign_ids,
    deduplicate,
    find_earlier_receptions,
)
from services.curator.evidence.repository import intake, prompts
from services.curator.evidence.repository.intake import StoredFeedback
from services.curator.evidence.repository.prompts import NewPrompt
from shared.conversation import Conversation, calculate_prompt_hash, canonicalize, read_tools
from shared.db import exclude_holders
from shared.errors import InvalidRequest
from shared.events import FeedbackReceived, InteractionRecorded
from shared.feedback import effective_time, list_interactions, read_import_name
from shared.user_hashes import UserHashes
from shared.user_stores import EVIDENCE_LOCK


def prepare_interaction(event: InteractionRecorded, hashes: UserHashes) -> ReceivedInteraction:
    """Raises: InvalidRequest: it cannot be stored."""
    if event.served_at.tzinfo is None:
        raise InvalidRequest("served_at has no time zone")
    event, found = redact_interaction(event)
    _count_redactions(found)
    return ReceivedInteraction.of(event, hashes, redacted=bool(found))


def prepare_feedback(event: FeedbackReceived, hashes: UserHashes) -> ReceivedFeedback:
    """Raises: InvalidRequest: it cannot be stored."""
    if effective_time(event).tzinfo is None or event.received_at.tzinfo is None:
        raise InvalidRequest("a time without a zone")
    event, found = redact_feedback(event)
    _count_redactions(found)
    return ReceivedFeedback.of(event, hashes, redacted=bool(found))


def _count_redactions(found: Counter[str]) -> None:
    for kind, count in found.items():
        metrics.REDACTED.labels(kind).inc(count)


def drop_erased(
    session: Session, interactions: Sequence[ReceivedInteraction], feedback: Sequence[ReceivedFeedback]
) -> tuple[list[ReceivedInteraction], list[ReceivedFeedback]]:
    """Keep what may be stored. Dropped, with a tombstone for its id:

    - an interaction of an erased user or a withdrawn import, and what waits for it
    - feedback of such a user or import, or that speaks of an erased interaction
    - whatever bears an id that was erased
    """
    keys = {item.key for item in interactions} | {item.key for item in feedback}
    keys |= {key for item in feedback for key in list_interactions(item.event)}
    causes = Causes.find(session, [*interactions, *feedback])
    tombstones = intake.find_tombstones(session, keys)
    if not causes.any and not tombstones:
        return list(interactions), list(feedback)
    dropped = {
        item.key: cause
        for item in interactions
        if item.key not in tombstones and (cause := causes.of(item)) is not None
    }
    _save_tombstones(session, "interaction", dropped)
    if dropped:
        waiting = intake.delete_feedback_on(session, dropped)
        _save_tombstones(session, "event", dict.fromkeys(waiting, next(iter(dropped.values()))))
    tombstones |= dropped
    dropped_feedback = {
        item.key: erasure for item in feedback if (erasure := _find_erasure(item, causes, tombstones)) is not None
    }
    _save_tombstones(
        session, "event", {key: erasure for key, erasure in dropped_feedback.items() if key not in tombstones}
    )
    kept = [item for item in interactions if item.key not in tombstones]
    metrics.ERASED.labels("interaction").inc(len(interactions) - len(kept))
    metrics.ERASED.labels("feedback").inc(len([item for item in feedback if item.key in dropped_feedback]))
    return kept, [item for item in feedback if item.key not in dropped_feedback]


@dataclass(frozen=True)
class Causes:
    """Why evidence is dropped on arrival: the erasure of its user, the withdrawal of its import."""

    by_user: Mapping[str, UUID]
    by_import: Mapping[str, UUID]

    @classmethod
    def find(cls, session: Session, items: Sequence[ReceivedInteraction | ReceivedFeedback]) -> "Causes":
        users = {user for item in items if (user := item.event.user) is not None}
        names = {name for item in items if (name := read_import_name(item.event)) is not None}
        return cls(intake.find_erased_users(session, users), intake.find_withdrawn_imports(session, names))

    @property
    def any(self) -> bool:
        return bool(self.by_user or self.by_import)

    def of(self, item: ReceivedInteraction | ReceivedFeedback) -> UUID | None:
        withdrawn = self.by_import.get(read_import_name(item.event) or "") if self.by_import else None
        return self.by_user.get(item.event.user or "") or withdrawn


def _find_erasure(item: ReceivedFeedback, causes: Causes, tombstones: dict[UUID, UUID]) -> UUID | None:
    if (cause := causes.of(item)) is not None:
        return cause
    return next((tombstones[key] for key in (item.key, *list_interactions(item.event)) if key in tombstones), None)


def _save_tombstones(session: Session, kind: str, erased: dict[UUID, UUID]) -> None:
    for erasure_id in sorted(set(erased.values())):
        keys = {key for key, of in erased.items() if of == erasure_id}
        intake.save_tombstones(session, erasure_id, kind, keys)


def store_interactions(session: Session, received: Sequence[ReceivedInteraction]) -> set[str]:
    """Store interactions and attach what waited for them; return the prompt groups to derive anew.

    The same id with another body: the one with the smaller content hash stands, the other is kept aside. A new
    interaction that nobody spoke of yet changes nothing in its group.
    """
    if not received:
        return set()
    deduplicated = deduplicate(received, intake.load_interaction_hashes(session, {item.key for item in received}))
    _store_prompts(session, [*deduplicated.new, *deduplicated.replacing])
    intake.copy_interactions(session, deduplicated.new)
    touched = _replace_interactions(session, deduplicated.replacing)
    _save_conflicting(session, "interaction", deduplicated)
    return touched | _attach_parked(session, deduplicated)


def _store_prompts(session: Session, received: Sequence[ReceivedInteraction]) -> None:
    conversations = {item.prompt_hash: item.conversation for item in received}
    missing = prompts.list_missing_prompts(session, conversations) if conversations else set()
    if missing:
        prompts.insert_prompts(session, [NewPrompt(key, conversations[key]) for key in missing])


def convert_old_prompts(session: Session, limit: int) -> tuple[int, set[str]]:
    """Put interactions that release 0.1.0 stored under the prompt that their canonical conversation is.

    Returns how many prompts were looked at, and the groups to derive anew. While it goes on nobody stores evidence.
    A new prompt keeps the split of the one it comes from, whatever its own cell says: what was trained on stays so.
    """
    exclude_holders(session, EVIDENCE_LOCK)
    old = prompts.list_old_prompts(session, limit)
    seen = {
        key: (before, Conversation(canonicalize(old[before]), read_tools(tools)))
        for key, before, tools in prompts.load_offered_tools(session, old)
    }
    hashes = {key: calculate_prompt_hash(one.messages, one.tools) for key, (_, one) in seen.items()}
    moved = {key: (before, one) for key, (before, one) in seen.items() if hashes[key] != before}
    cells = prompts.load_cells(session, {before for before, _ in moved.values()})
    new = {hashes[key]: NewPrompt(hashes[key], one, *cells[before]) for key, (before, one) in moved.items()}
    if new:
        prompts.insert_prompts(session, list(new.values()))
        prompts.move_interactions(session, [(key, hashes[key]) for key in moved])
    prompts.mark_canonical(session, old)
    return len(old), new.keys() | {before for before, _ in moved.values()}


def _replace_interactions(session: Session, replacing: Sequence[ReceivedInteraction]) -> set[str]:
    """Put these in the place of what stands, which is kept aside; return the groups of both."""
    if not replacing:
        return set()
    displaced = intake.load_interaction_bodies(session, [item.key for item in replacing])
    intake.save_conflicting_events(session, [(key, content_hash, body) for key, content_hash, _, body in displaced])
    intake.replace_interactions(session, replacing)
    return {item.prompt_hash for item in replacing} | {prompt_hash for _, _, prompt_hash, _ in displaced}


def _save_conflicting(
    session: Session, kind: str, deduplicated: Deduplicated[ReceivedInteraction] | Deduplicated[ReceivedFeedback]
) -> None:
    if conflicts := len(deduplicated.replacing) + len(deduplicated.conflicting):
        metrics.CONFLICTS.labels(kind).inc(conflicts)
    if deduplicated.conflicting:
        intake.save_conflicting_events(
            session, [(item.key, item.content_hash, item.event) for item in deduplicated.conflicting]
        )


def _attach_parked(session: Session, deduplicated: Deduplicated[ReceivedInteraction]) -> set[str]:
    """Attach feedback that has all it needs now, also what had expired; return the groups it belongs to."""
    waiting = intake.load_feedback_about(session, [item.key for item in (*deduplicated.new, *deduplicated.replacing)])
    if not waiting:
        return set()
    prompts = intake.load_prompts_of(session, {key for _, one, other, _ in waiting for key in (one, other or one)})
    attached = [
        (event_id, one, state)
        for event_id, one, other, state in waiting
        if one in prompts and (state == "attached" or (other or one) in prompts)
    ]
    if newly := [event_id for event_id, _, state in attached if state != "attached"]:
        intake.mark_attached(session, newly)
    return {prompts[one] for _, one, _ in attached}


def store_feedback(session: Session, received: Sequence[ReceivedFeedback]) -> set[str]:
    """Store feedback, parked if an interaction that it needs is unknown; return the prompt groups to derive anew.

    A duplicate keeps the earliest `received_at`. The same id with another body: the smaller content hash stands.
    """
    if not received:
        return set()
    received, stored, moved = _assign_ids(session, received)
    deduplicated = deduplicate(received, {key: known.content_hash for key, known in stored.items()})
    displaced = intake.load_feedback_bodies(session, [item.key for item in deduplicated.replacing])
    gone = {key for key, *_ in displaced}
    known_receptions = {key: (body.content_hash, body.received_at) for key, body in stored.items() if key not in gone}
    earlier = find_earlier_receptions(received, known_receptions)
    written = [*deduplicated.new, *deduplicated.replacing, *earlier]
    prompts = intake.load_prompts_of(
        session, {*_list_all_interactions(written), *(interaction_id for _, _, interaction_id, _ in displaced)}
    )
    states = {
        item.key: "attached" if prompts.keys() >= set(list_interactions(item.event)) else "parked" for item in written
    }
    intake.copy_feedback(session, [(item, states[item.key]) for item in deduplicated.new])
    if deduplicated.replacing:
        intake.save_conflicting_events(session, [(key, content_hash, body) for key, content_hash, _, body in displaced])
        intake.replace_feedback(session, [(item, states[item.key]) for item in deduplicated.replacing])
    if earlier:
        intake.save_receptions(session, earlier)
    _save_conflicting(session, "feedback", deduplicated)
    touched = {interaction_id for _, _, interaction_id, _ in displaced}
    touched |= {item.event.interaction_id for item in written if states[item.key] == "attached"}
    return moved | {prompts[key] for key in touched if key in prompts}


def _assign_ids(
    session: Session, received: Sequence[ReceivedFeedback]
) -> tuple[Sequence[ReceivedFeedback], Mapping[UUID, StoredFeedback], set[str]]:
    """Assign ids: (the feedback under its ids, what is stored under those, groups in which an id changed)."""
    stored = intake.load_stored_feedback(session, {item.key for item in received})
    assigned, given_up = assign_ids(received, {key: known.key_id for key, known in stored.items()})
    moved = intake.move_feedback(session, given_up) if given_up else set()
    if given_up or any(item.scoped for item in assigned):
        stored = intake.load_stored_feedback(session, {item.key for item in assigned})
    return assigned, stored, moved


def _list_all_interactions(received: Iterable[ReceivedFeedback]) -> set[UUID]:
    return {key for item in received for key in list_interactions(item.event)}
