"""The datasets there are, what each holds, and the way from a click to the answers that it led to, and back."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, func, literal, or_, select, text
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import Session

from services.curator.cells.repository import load_cells
from services.curator.datasets.domain.report import EXAMPLES, Intake
from services.curator.evidence.repository.status import count_conflicting, count_feedback, count_interactions
from services.curator.weighing.domain.history import Evidence, History, PairEvidence
from services.curator.weighing.repository import list_refused
from shared.events import IMPORT_KEY_ID
from shared.feedback import scope_id
from shared.tables import trainer
from shared.tables.access import ApiKey
from shared.tables.curator import Dataset, Feedback, Interaction, Label, Pair
from shared.tables.erasures import DatasetItem, FrozenItem

INSERTED_AT_ONCE = 1000


def save_dataset(
    session: Session,
    dataset_sha256: str,
    uri: str,
    parent_sha256: str | None,
    manifest: dict[str, Any],
    through_sequence: int,
) -> Dataset:
    """Insert the dataset's row, or return the one that an earlier snapshot of the same content left."""
    row = {
        "dataset_sha256": dataset_sha256,
        "uri": uri,
        "parent_sha256": parent_sha256,
        "manifest": manifest,
        "through_sequence": through_sequence,
    }
    session.execute(insert(Dataset).values(row).on_conflict_do_nothing())
    return session.get_one(Dataset, dataset_sha256)


def save_items(session: Session, dataset_sha256: str, items: Iterable[Evidence]) -> None:
    """Record what a dataset holds and what each of it rests on."""
    left = iter(items)
    while part := list(islice(left, INSERTED_AT_ONCE)):
        session.execute(insert(FrozenItem).values([_item_row(item) for item in part]).on_conflict_do_nothing())
        rows = [{"dataset_sha256": dataset_sha256, "item_id": item.item_id} for item in part]
        session.execute(insert(DatasetItem).values(rows).on_conflict_do_nothing())


def _item_row(item: Evidence) -> dict[str, Any]:
    sides = (item.chosen_id, item.rejected_id) if isinstance(item, PairEvidence) else (item.interaction_id,)
    return {
        "item_id": item.item_id,
        "prompt_hash": item.prompt_hash,
        "evidence": list(item.evidence),
        "interactions": sorted(side for side in sides if side is not None),
    }


def load_last_sequence(session: Session) -> int:
    """Load the highest number that any pair or label, committed or not, has been given."""
    return (
        session.scalar(text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM curator.derived_sequence")) or 0
    )


def inherit_items(session: Session, successor: str, old: str) -> None:
    """Record that a successor holds what is left of the dataset that it replaces."""
    held = select(literal(successor), DatasetItem.item_id).where(DatasetItem.dataset_sha256 == old)
    session.execute(insert(DatasetItem).from_select(["dataset_sha256", "item_id"], held).on_conflict_do_nothing())


def list_erased_uris(session: Session) -> list[str]:
    return list(session.scalars(select(Dataset.uri).where(Dataset.erased_at.is_not(None))))


def load_newest_sha256(session: Session) -> str | None:
    kept = select(Dataset.dataset_sha256).where(Dataset.erased_at.is_(None))
    return session.scalar(kept.order_by(Dataset.created_at.desc()).limit(1))


def load_dataset(session: Session, dataset_sha256: str) -> Dataset | None:
    return session.get(Dataset, dataset_sha256)


def list_datasets(session: Session, limit: int) -> Sequence[Dataset]:
    """List the newest first."""
    return session.scalars(select(Dataset).order_by(Dataset.created_at.desc()).limit(limit)).all()


def count_datasets(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Dataset)) or 0


def read_intake(session: Session, history: History) -> Intake:
    """Read what the report says of what came in."""
    feedback = {
        kind if state == "attached" else f"{kind}, {state}": count for kind, state, count in count_feedback(session)
    }
    cells_of = load_cells(session, {item.prompt_hash for item in history.items})
    refused = list_refused(session, EXAMPLES)
    return Intake(count_interactions(session), feedback, count_conflicting(session), refused, cells_of)


LISTED = 100
"""Ids listed of each kind; how many there are is counted in full."""


@dataclass(frozen=True)
class Served:
    """Some interactions that a version served, newest first, and how many there are."""

    listed: list[UUID]
    count: int


def list_events_named(session: Session, event_id: UUID) -> list[UUID]:
    """List the ids of the stored events that clients sent under this id: several if several API keys used it."""
    keys = session.scalars(select(ApiKey.key_id))
    named = [event_id, *(scope_id(event_id, key_id) for key_id in keys)]
    return sorted(session.scalars(select(Feedback.event_id).where(Feedback.event_id.in_(named))))


def load_version_of(session: Session, interaction_id: UUID) -> str | None:
    """Load the version that served an interaction; None when there is no such interaction."""
    return session.scalar(select(Interaction.model_version).where(Interaction.interaction_id == interaction_id))


def _holds(column: Any, key: UUID) -> Any:
    return column.op("@>")(array([key], type_=Uuid))


def list_pairs_of_event(session: Session, event_id: UUID) -> list[str]:
    """List pairs (of any state) and labels that rest on the event, also those that only datasets still hold.

    What is derived from an event stands in its interaction's prompt group: so no index over all evidence is needed.
    """
    group = (
        select(Interaction.prompt_hash)
        .join(Feedback, Feedback.interaction_id == Interaction.interaction_id)
        .where(Feedback.event_id == event_id)
        .scalar_subquery()
    )
    pairs = select(Pair.pair_id).where(Pair.prompt_hash == group, _holds(Pair.evidence, event_id))
    labels = select(Label.label_id).where(Label.prompt_hash == group, _holds(Label.evidence, event_id))
    frozen = select(FrozenItem.item_id).where(_holds(FrozenItem.evidence, event_id))
    return sorted({key for query in (pairs, labels, frozen) for key in session.scalars(query)})


def list_pairs_of_interaction(session: Session, interaction_id: UUID) -> list[str]:
    """List pairs (of any state) with the interaction as a side, and its labels; also those only datasets hold."""
    group = select(Interaction.prompt_hash).where(Interaction.interaction_id == interaction_id).scalar_subquery()
    sides = or_(Pair.chosen_interaction_id == interaction_id, Pair.rejected_interaction_id == interaction_id)
    pairs = select(Pair.pair_id).where(Pair.prompt_hash == group, sides)
    labels = select(Label.label_id).where(Label.prompt_hash == group, Label.interaction_id == interaction_id)
    frozen = select(FrozenItem.item_id).where(_holds(FrozenItem.interactions, interaction_id))
    return sorted({key for query in (pairs, labels, frozen) for key in session.scalars(query)})


def exists_pair(session: Session, pair_id: str) -> bool:
    return any(session.get(table, pair_id) is not None for table in (Pair, Label, FrozenItem))


def list_datasets_with(session: Session, pair_ids: Collection[str]) -> list[str]:
    """List the datasets that hold one of the pairs or labels."""
    query = select(DatasetItem.dataset_sha256).distinct().where(DatasetItem.item_id.in_(pair_ids))
    return list(session.scalars(query.order_by(DatasetItem.dataset_sha256)))


def list_pairs_in(session: Session, dataset_sha256s: Collection[str]) -> list[str]:
    """List every pair and label of the datasets."""
    query = select(DatasetItem.item_id).distinct().where(DatasetItem.dataset_sha256.in_(dataset_sha256s))
    return list(session.scalars(query.order_by(DatasetItem.item_id)))


def list_models_trained_on(session: Session, dataset_sha256s: Collection[str]) -> list[dict[str, Any]]:
    """List the versions trained on one of the datasets (`directly`), and every version trained from those."""
    direct = set(list_versions_of(session, dataset_sha256s))
    found, frontier = set(direct), set(direct)
    while frontier:
        children = select(trainer.Run.candidate_version).where(
            trainer.Run.parent_version.in_(frontier), trainer.Run.candidate_version.is_not(None)
        )
        frontier = {str(version) for version in session.scalars(children)} - found
        found |= frontier
    return [{"version": version, "directly": version in direct} for version in sorted(found)]


def list_versions_of(session: Session, dataset_sha256s: Collection[str]) -> list[str]:
    """List the candidates that were trained on one of the datasets."""
    query = (
        select(trainer.Run.candidate_version)
        .where(trainer.Run.dataset_sha256.in_(dataset_sha256s), trainer.Run.candidate_version.is_not(None))
        .distinct()
    )
    return sorted(str(version) for version in session.scalars(query))


def list_datasets_of_version(session: Session, version: str) -> list[str]:
    """List the datasets that a version, or one of its ancestors, was trained on."""
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
    """List the events on which the pairs and labels rest."""
    return sorted(_gather_evidence(session, pair_ids))


def _gather_evidence(session: Session, pair_ids: Collection[str]) -> set[UUID]:
    return _gather(session, pair_ids, Pair.evidence, Label.evidence, FrozenItem.evidence)


def list_interactions_of(session: Session, pair_ids: Collection[str]) -> list[UUID]:
    """List the answers that the pairs and labels are made of."""
    sides = func.array_remove(array([Pair.chosen_interaction_id, Pair.rejected_interaction_id]), None)
    return sorted(_gather(session, pair_ids, sides, array([Label.interaction_id]), FrozenItem.interactions))


def _gather(session: Session, pair_ids: Collection[str], of_pair: Any, of_label: Any, of_frozen: Any) -> set[UUID]:
    """Gather the ids in these array columns of pairs, labels, and items that only datasets still hold."""
    queries: tuple[Any, ...] = (
        select(of_pair).where(Pair.pair_id.in_(pair_ids)),
        select(of_label).where(Label.label_id.in_(pair_ids)),
        select(of_frozen).where(FrozenItem.item_id.in_(pair_ids)),
    )
    return {key for query in queries for keys in session.scalars(query) for key in keys}


def list_imports_of(session: Session, interactions: Collection[UUID], events: Collection[UUID]) -> list[str]:
    """List the names of the imports that brought any of these."""
    found: set[str] = set()
    for table, key, wanted in (
        (Interaction, Interaction.interaction_id, interactions),
        (Feedback, Feedback.event_id, events),
    ):
        name = table.event["metadata"]["imported"]["source"].astext
        query = select(name).distinct().where(key == func.any(list(wanted)), table.key_id == IMPORT_KEY_ID)
        found |= {one for one in session.scalars(query) if one}
    return sorted(found)
