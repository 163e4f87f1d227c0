"""What led to something, and what it led to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.repository import datasets, lineage
from shared.errors import InvalidRequest, NotFound

Kind = Literal["event", "interaction", "pair", "dataset", "version"]


@dataclass
class Lineage:
    """Everything reachable forward and backward. `pairs` are ids of pairs and labels; `interactions` are those that
    the pairs are made of; `served` a bounded list, newest first, of what the versions served."""

    pairs: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    interactions: list[UUID] = field(default_factory=list)
    events: list[UUID] = field(default_factory=list)
    served: list[UUID] = field(default_factory=list)
    served_count: int = 0


def trace(session: Session, kind: Kind, subject: str) -> Lineage:
    """Follow something through the loop.

    Forward: event -> pairs -> datasets -> versions -> the interactions they served.
    Backward: interaction -> its version -> datasets -> pairs -> the events they rest on.

    Raises:
        NotFound: no such thing.
        InvalidRequest: the id is not a UUID where it has to be one.
    """
    return TRACES[kind](session, subject)


def trace_event(session: Session, subject: str) -> Lineage:
    events = lineage.list_events_named(session, _parse(subject))
    if not events:
        raise NotFound(f"no event {subject}")
    pairs = {pair for event_id in events for pair in lineage.list_pairs_of_event(session, event_id)}
    return _go_forward(session, sorted(pairs), events=events)


def trace_pair(session: Session, subject: str) -> Lineage:
    if not lineage.exists_pair(session, subject):
        raise NotFound(f"no pair or label {subject}")
    return _go_forward(session, [subject])


def trace_dataset(session: Session, subject: str) -> Lineage:
    if datasets.load_dataset(session, subject) is None:
        raise NotFound(f"no dataset {subject}")
    found = _go_backward(session, [subject])
    found.versions = lineage.list_versions_of(session, [subject])
    return _add_served(session, found)


def trace_version(session: Session, subject: str) -> Lineage:
    if not lineage.exists_version(session, subject):
        raise NotFound(f"no version {subject}")
    found = _go_backward(session, lineage.list_datasets_of_version(session, subject))
    found.versions = [subject]
    return _add_served(session, found)


def trace_interaction(session: Session, subject: str) -> Lineage:
    """Both ways: what made the version that answered, and what the answer was then made into."""
    interaction_id = _parse(subject)
    version = lineage.load_version_of(session, interaction_id)
    if version is None:
        raise NotFound(f"no interaction {subject}")
    back = _go_backward(session, lineage.list_datasets_of_version(session, version))
    ahead = _go_forward(session, lineage.list_pairs_of_interaction(session, interaction_id))
    return Lineage(
        pairs=sorted({*back.pairs, *ahead.pairs}),
        datasets=sorted({*back.datasets, *ahead.datasets}),
        versions=sorted({version, *ahead.versions}),
        interactions=sorted({interaction_id, *back.interactions, *ahead.interactions}),
        events=sorted({*back.events, *ahead.events}),
        served=ahead.served,
        served_count=ahead.served_count,
    )


TRACES: dict[Kind, Callable[[Session, str], Lineage]] = {
    "event": trace_event,
    "interaction": trace_interaction,
    "pair": trace_pair,
    "dataset": trace_dataset,
    "version": trace_version,
}


def _go_forward(session: Session, pairs: list[str], events: list[UUID] | None = None) -> Lineage:
    found = Lineage(pairs=pairs)
    found.datasets = lineage.list_datasets_with(session, pairs)
    found.versions = lineage.list_versions_of(session, found.datasets)
    found.interactions = lineage.list_interactions_of(session, pairs)
    found.events = sorted({*(events or ()), *lineage.list_evidence_of(session, pairs)})
    return _add_served(session, found)


def _go_backward(session: Session, of_datasets: list[str]) -> Lineage:
    found = Lineage(datasets=of_datasets, pairs=lineage.list_pairs_in(session, of_datasets))
    found.interactions = lineage.list_interactions_of(session, found.pairs)
    found.events = lineage.list_evidence_of(session, found.pairs)
    return found


def _add_served(session: Session, found: Lineage) -> Lineage:
    served = lineage.load_served(session, found.versions)
    found.served, found.served_count = served.listed, served.count
    return found


def _parse(subject: str) -> UUID:
    try:
        return UUID(subject)
    except ValueError:
        raise InvalidRequest(f"{subject!r} is not a UUID") from None
