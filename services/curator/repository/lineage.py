"""From a click to the answers that it led to, and back."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session
from sqlalchemy.types import Text, Uuid

from shared.tables import trainer
from shared.tables.curator import Dataset, Feedback, Interaction, Label, Pair

LISTED = 100
"""Ids listed of each kind; how many there are is counted in full."""


@dataclass(frozen=True)
class Served:
    """Some interactions that a version served, newest first, and how many there are."""

    listed: list[UUID]
    count: int


def exists_event(session: Session, event_id: UUID) -> bool:
    return session.get(Feedback, event_id) is not None


def load_version_of(session: Session, interaction_id: UUID) -> str | None:
    """The version that served an interaction; None when there is no such interaction."""
    return session.scalar(select(Interaction.model_version).where(Interaction.interaction_id == interaction_id))


def list_pairs_of_events(session: Session, event_ids: Collection[UUID]) -> list[str]:
    """Pairs, of any state, and labels that rest on one of the events."""
    wanted = array([*event_ids], type_=Uuid) if event_ids else None
    if wanted is None:
        return []
    pairs = session.scalars(select(Pair.pair_id).where(Pair.evidence.op("&&")(wanted))).all()
    labels = session.scalars(select(Label.label_id).where(Label.evidence.op("&&")(wanted))).all()
    return sorted([*pairs, *labels])


def list_pairs_of_interaction(session: Session, interaction_id: UUID) -> list[str]:
    """Pairs, of any state, with the interaction as a side, and labels of it."""
    sides = or_(Pair.chosen_interaction_id == interaction_id, Pair.rejected_interaction_id == interaction_id)
    pairs = session.scalars(select(Pair.pair_id).where(sides)).all()
    labels = session.scalars(select(Label.label_id).where(Label.interaction_id == interaction_id)).all()
    return sorted([*pairs, *labels])


def exists_pair(session: Session, pair_id: str) -> bool:
    return session.get(Pair, pair_id) is not None or session.get(Label, pair_id) is not None


def list_datasets_with(session: Session, pair_ids: Collection[str]) -> list[str]:
    """Datasets whose manifest names one of the pairs or labels."""
    if not pair_ids:
        return []
    wanted = array([*pair_ids], type_=Text)

    names = or_(*(Dataset.manifest[key].op("?|")(wanted) for key in ("pair_ids", "label_ids")))
    query = select(Dataset.dataset_sha256).where(names)
    return list(session.scalars(query.order_by(Dataset.dataset_sha256)))


def list_pairs_in(session: Session, dataset_sha256s: Collection[str]) -> list[str]:
    """Every pair and label that the datasets' manifests name."""
    manifests = session.scalars(select(Dataset.manifest).where(Dataset.dataset_sha256.in_(dataset_sha256s)))
    found: set[str] = set()
    for manifest in manifests:
        found.update(manifest.get("pair_ids", ()), manifest.get("label_ids", ()))
    return sorted(found)


def list_versions_of(session: Session, dataset_sha256s: Collection[str]) -> list[str]:
    """Candidates that were trained on one of the datasets."""
    query = (
        select(trainer.Run.candidate_version)
        .where(trainer.Run.dataset_sha256.in_(dataset_sha256s), trainer.Run.candidate_version.is_not(None))
        .distinct()
    )
    return sorted(str(version) for version in session.scalars(query))


def list_datasets_of_version(session: Session, version: str) -> list[str]:
    """The datasets that a version, or one of its forebears, was trained on."""
    found: set[str] = set()
    seen: set[str] = set()
    current: str | None = version
    while current is not None and current not in seen:
        seen.add(current)
        query = select(trainer.Run.dataset_sha256, trainer.Run.parent_version)
        row = session.execute(query.where(trainer.Run.candidate_version == current).limit(1)).first()
        current = row.parent_version if row else None
        if row:
            found.add(row.dataset_sha256)
    return sorted(found)


def exists_version(session: Session, version: str) -> bool:
    served = session.scalar(select(Interaction.interaction_id).where(Interaction.model_version == version).limit(1))
    trained = session.scalar(select(trainer.Run.run_id).where(trainer.Run.candidate_version == version).limit(1))
    return served is not None or trained is not None


def load_served(session: Session, versions: Collection[str]) -> Served:
    condition = Interaction.model_version.in_(versions)
    newest = select(Interaction.interaction_id).where(condition).order_by(Interaction.served_at.desc()).limit(LISTED)
    count = session.scalar(select(func.count()).select_from(Interaction).where(condition))
    return Served(list(session.scalars(newest)), count or 0)


def list_evidence_of(session: Session, pair_ids: Collection[str]) -> list[UUID]:
    """The events on which the pairs and labels rest."""
    return sorted(_flatten(session, pair_ids))


def _flatten(session: Session, pair_ids: Collection[str]) -> set[UUID]:
    pairs: Iterable[Any] = session.scalars(select(Pair.evidence).where(Pair.pair_id.in_(pair_ids)))
    labels: Iterable[Any] = session.scalars(select(Label.evidence).where(Label.label_id.in_(pair_ids)))
    return {event_id for evidence in (*pairs, *labels) for event_id in evidence}


def list_interactions_of(session: Session, pair_ids: Collection[str]) -> list[UUID]:
    """The answers that the pairs and labels are made of."""
    found: set[UUID] = set()
    sides = select(Pair.chosen_interaction_id, Pair.rejected_interaction_id).where(Pair.pair_id.in_(pair_ids))
    for chosen, rejected in session.execute(sides):
        found.update(key for key in (chosen, rejected) if key is not None)
    found.update(session.scalars(select(Label.interaction_id).where(Label.label_id.in_(pair_ids))))
    return sorted(found)
