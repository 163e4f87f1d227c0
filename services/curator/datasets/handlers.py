"""Freeze a dataset, and trace what led to something and what it led to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.cells import repository as cells
from services.curator.cells.domain.near_gate import NearGate, find_near_gate
from services.curator.cells.domain.placement import name_cells
from services.curator.cells.handlers import place_new, renew_all_cells
from services.curator.cells.ports import Embedder
from services.curator.cells.repository import CELLS_LOCK
from services.curator.datasets import repository as datasets
from services.curator.datasets.adapters import DatasetContent, store_dataset
from services.curator.datasets.domain.data_card import derive_card
from services.curator.datasets.domain.manifest import SnapshotContext, Splitting, derive_manifest
from services.curator.datasets.domain.report import Intake, derive_report
from services.curator.datasets.domain.report_page import render_report
from services.curator.datasets.domain.rows import calculate_dataset_sha256, derive_rows
from services.curator.datasets.domain.selection_log import derive_selection_log
from services.curator.datasets.domain.snapshot import (
    Caps,
    Conversations,
    Preview,
    Snapshot,
    derive_preview,
    derive_snapshot,
    explain_unusable,
)
from services.curator.pairs.domain.wording import derive_language
from services.curator.pairs.repository import load_texts
from services.curator.weighing.domain.curation import Curated, curate
from services.curator.weighing.domain.history import Decisions, History
from services.curator.weighing.domain.quarantine import derive_quarantine, describe_quarantined
from services.curator.weighing.handlers import exclude_events, load_history
from services.curator.weighing.repository import (
    count_refused,
    load_conversations,
    load_quarantine_decisions,
    open_snapshot,
    read_decisions,
    replace_quarantined,
)
from shared.artifacts import Artifacts
from shared.conversation import derive_question
from shared.db import exclude_holders, wait_for_holders
from shared.errors import InvalidRequest, NotFound
from shared.tables.curator import Dataset
from shared.user_stores import EVIDENCE_LOCK


@dataclass(frozen=True)
class SnapshotInput:
    """One state of the tables."""

    decisions: Decisions
    everything: History
    trusted: History
    """Without what is in quarantine."""
    conversations: Conversations
    unusable: Mapping[str, str]
    """Prompts that nothing may be trained on, with the reason."""
    context: SnapshotContext


@dataclass(frozen=True)
class Draft:
    """What a dataset frozen now would hold, before anything is written."""

    through_sequence: int
    loaded: SnapshotInput
    curated: Curated
    snapshot: Snapshot
    intake: Intake
    """Read only when a dataset is frozen."""


def preview_dataset(session: Session, *, caps: Caps, embedder: Embedder, parent_version: str, now: datetime) -> Preview:
    """Find what would be frozen now, and save what was set aside for people; costs a freeze, less the files.

    New prompts get their cells when a dataset is frozen: when somebody looks decides nothing.
    """
    draft = _draft_dataset(session, caps, embedder, parent_version, keep=False)
    _save_set_aside(session, draft, now)
    return derive_preview(draft.snapshot, draft.through_sequence)


def freeze_dataset(
    session: Session,
    datasets_dir: Path,
    artifacts: Artifacts,
    caps: Caps,
    *,
    embedder: Embedder,
    parent_version: str,
    now: datetime,
) -> Dataset:
    """Write what stands now as a dataset, and what was set aside for people; the same evidence gives the same dataset.

    Raises:
        InvalidRequest: there is nothing to train on.
    """
    draft = _draft_dataset(session, caps, embedder, parent_version, keep=True)
    loaded, curated, snapshot = draft.loaded, draft.curated, draft.snapshot
    if not snapshot.train:
        raise InvalidRequest("there is nothing to train on: no preference pair stands in the training split")
    rows = derive_rows(snapshot, loaded.conversations)
    dataset_sha256 = calculate_dataset_sha256(rows)
    manifest = derive_manifest(snapshot, curated, loaded.context, dataset_sha256) | {"report": _report(draft)}
    selection_log = derive_selection_log(curated, snapshot)
    content = DatasetContent(dataset_sha256, rows, manifest, derive_card(manifest, rows), selection_log)
    uri = store_dataset(artifacts, datasets_dir, content)
    parent = loaded.context.parent_dataset
    dataset = datasets.save_dataset(session, dataset_sha256, uri, parent, manifest, draft.through_sequence)
    datasets.save_items(session, dataset_sha256, (one.item for one in snapshot.everything))
    _save_set_aside(session, draft, now)
    return dataset


def _report(draft: Draft) -> dict[str, Any]:
    context = draft.loaded.context
    return derive_report(draft.snapshot, draft.loaded.trusted, context.quarantine, context.refused, draft.intake)


def show_report(session: Session, dataset_sha256: str) -> str:
    """Show a dataset's report as a page, its examples with what users wrote.

    Raises:
        NotFound: no such dataset, or its manifest is older than reports.
    """
    dataset = datasets.load_dataset(session, dataset_sha256)
    if dataset is None or "report" not in dataset.manifest:
        raise NotFound(f"no report of a dataset {dataset_sha256}")
    wanted = {key for reason in dataset.manifest["report"]["not_kept"] for key in reason["examples"]}
    return render_report(dataset.manifest, load_texts(session, wanted))


def _draft_dataset(session: Session, caps: Caps, embedder: Embedder, parent_version: str, *, keep: bool) -> Draft:
    renew_all_cells(session, embedder)
    exclude_holders(session, CELLS_LOCK)
    parent = datasets.load_newest_sha256(session)
    through = datasets.load_last_sequence(session)
    wait_for_holders(session, EVIDENCE_LOCK)
    with open_snapshot(session, keep=keep) as reader:
        place_new(reader, embedder)
        loaded = load_snapshot_input(reader, parent, parent_version, embedder.version)
        intake = datasets.read_intake(reader, loaded.trusted) if keep else Intake()
    curated = curate(loaded.trusted, loaded.decisions)
    return Draft(through, loaded, curated, derive_snapshot(curated, loaded.trusted, loaded.unusable, caps), intake)


def _save_set_aside(session: Session, draft: Draft, now: datetime) -> None:
    set_aside = describe_quarantined(draft.loaded.everything, draft.loaded.context.quarantine, draft.curated)
    replace_quarantined(session, set_aside, now)


def load_snapshot_input(session: Session, parent: str | None, parent_version: str, embedder: str) -> SnapshotInput:
    everything = load_history(session, parent_version)
    decisions = read_decisions(load_quarantine_decisions(session))
    found = derive_quarantine(everything, decisions)
    trusted = exclude_events(session, everything, found.set_aside)
    conversations = load_conversations(session, {item.prompt_hash for item in trusted.items})
    near_gate = _find_near_gate(session, conversations)
    splitting = Splitting(name_cells(embedder), cells.count_renewed(session), near_gate)
    unusable = explain_unusable(conversations, near_gate.prompts)
    context = SnapshotContext(parent, parent_version, count_refused(session), splitting, found)
    return SnapshotInput(decisions, everything, trusted, conversations, unusable, context)


def _find_near_gate(session: Session, conversations: Conversations) -> NearGate:
    hashes = sorted(conversations)
    questions = [derive_question(conversations[key].messages) for key in hashes]
    languages = [derive_language(question) or "unknown" for question in questions]
    gate = cells.load_vectors(session, cells.list_gate_prompts(session))
    return find_near_gate(hashes, cells.load_vectors(session, hashes), languages, gate)


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
    imports: list[str] = field(default_factory=list)
    """Names of the imports that brought any of the interactions and events."""


def trace(session: Session, kind: Kind, subject: str) -> Lineage:
    """Follow something through the loop.

    Forward: event -> pairs -> datasets -> versions -> the interactions they served.
    Backward: interaction -> its version -> datasets -> pairs -> the events they rest on.

    Raises:
        NotFound: no such thing.
        InvalidRequest: the id is not a UUID where it has to be one.
    """
    found = TRACES[kind](session, subject)
    return replace(found, imports=datasets.list_imports_of(session, found.interactions, found.events))


def trace_event(session: Session, subject: str) -> Lineage:
    events = datasets.list_events_named(session, _parse_id(subject))
    if not events:
        raise NotFound(f"no event {subject}")
    pairs = {pair for event_id in events for pair in datasets.list_pairs_of_event(session, event_id)}
    return _go_forward(session, sorted(pairs), events=events)


def trace_pair(session: Session, subject: str) -> Lineage:
    if not datasets.exists_pair(session, subject):
        raise NotFound(f"no pair or label {subject}")
    return _go_forward(session, [subject])


def trace_dataset(session: Session, subject: str) -> Lineage:
    if datasets.load_dataset(session, subject) is None:
        raise NotFound(f"no dataset {subject}")
    found = _go_backward(session, [subject])
    found.versions = datasets.list_versions_of(session, [subject])
    return _add_served(session, found)


def trace_version(session: Session, subject: str) -> Lineage:
    if not datasets.exists_version(session, subject):
        raise NotFound(f"no version {subject}")
    found = _go_backward(session, datasets.list_datasets_of_version(session, subject))
    found.versions = [subject]
    return _add_served(session, found)


def trace_interaction(session: Session, subject: str) -> Lineage:
    """Follow both ways: what made the version that answered, and what was made of the answer."""
    interaction_id = _parse_id(subject)
    version = datasets.load_version_of(session, interaction_id)
    if version is None:
        raise NotFound(f"no interaction {subject}")
    back = _go_backward(session, datasets.list_datasets_of_version(session, version))
    ahead = _go_forward(session, datasets.list_pairs_of_interaction(session, interaction_id))
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
    found.datasets = datasets.list_datasets_with(session, pairs)
    found.versions = datasets.list_versions_of(session, found.datasets)
    found.interactions = datasets.list_interactions_of(session, pairs)
    found.events = sorted({*(events or ()), *datasets.list_evidence_of(session, pairs)})
    return _add_served(session, found)


def _go_backward(session: Session, of_datasets: list[str]) -> Lineage:
    found = Lineage(datasets=of_datasets, pairs=datasets.list_pairs_in(session, of_datasets))
    found.interactions = datasets.list_interactions_of(session, found.pairs)
    found.events = datasets.list_evidence_of(session, found.pairs)
    return found


def _add_served(session: Session, found: Lineage) -> Lineage:
    served = datasets.load_served(session, found.versions)
    found.served, found.served_count = served.listed, served.count
    return found


def _parse_id(subject: str) -> UUID:
    try:
        return UUID(subject)
    except ValueError:
        raise InvalidRequest(f"{subject!r} is not a UUID") from None
