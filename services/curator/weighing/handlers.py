"""Load the whole history of evidence, and leave out what is in quarantine."""

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.pairs.handlers import derive_stored
from services.curator.weighing.domain.history import CONSIDERED_REASONS, History, describe_label, describe_pair
from services.curator.weighing.domain.noise import calculate_ages
from services.curator.weighing.repository import load_feedback, load_label_evidence, load_pair_evidence, load_parents


def load_history(session: Session, parent_version: str) -> History:
    pairs, labels = load_pair_evidence(session), load_label_evidence(session)
    rested_on = {event_id for pair in pairs for event_id in pair.evidence}
    rested_on |= {event_id for label in labels for event_id in label.evidence}
    ages = calculate_ages(parent_version, load_parents(session))
    return History(pairs, labels, load_feedback(session, rested_on), ages)


def exclude_events(session: Session, everything: History, set_aside: Collection[UUID]) -> History:
    """Derive the history without these events: the groups of their prompts are derived anew."""
    gone = frozenset(set_aside)
    splits = {item.prompt_hash: item.split for item in everything.items if not gone.isdisjoint(item.evidence)}
    if not splits:
        return everything
    anew = derive_stored(session, splits, gone)
    pairs = [pair for pair in everything.pairs if pair.prompt_hash not in splits]
    labels = [label for label in everything.labels if label.prompt_hash not in splits]
    for key, group in anew.items():
        pairs += [describe_pair(key, splits[key], pair) for pair in group.pairs if pair.reason in CONSIDERED_REASONS]
        labels += [describe_label(key, splits[key], label) for label in group.labels]
    feedback = {event_id: one for event_id, one in everything.feedback.items() if event_id not in gone}
    return replace(everything, pairs=pairs, labels=labels, feedback=feedback)
