"""Freezing what stands now as a dataset."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from services.curator.adapters.dataset_files import DatasetContent, write_dataset
from services.curator.domain.curation import curate
from services.curator.domain.data_card import derive_card
from services.curator.domain.evidence import CONSIDERED_REASONS, History, describe_label, describe_pair
from services.curator.domain.ledger import derive_ledger
from services.curator.domain.manifest import Circumstances, derive_manifest
from services.curator.domain.near_gate import Prompting, find_near
from services.curator.domain.quarantine import Decisions, derive_quarantine
from services.curator.domain.rows import calculate_dataset_sha256, derive_rows
from services.curator.domain.snapshot import Caps, Messages, derive_snapshot
from services.curator.domain.staleness import calculate_ages
from services.curator.handlers.derivation import derive_stored
from services.curator.handlers.quarantine import describe_quarantined, read_decisions
from services.curator.repository import datasets, history, quarantine
from services.curator.repository.batches import EVIDENCE
from shared.conversation import derive_question
from shared.db import wait_for_holders
from shared.errors import InvalidRequest
from shared.tables.curator import Dataset


@dataclass(frozen=True)
class Loaded:
    """One state of the tables."""

    decisions: Decisions
    everything: History
    standing: History
    """Without what is in quarantine."""
    messages: Messages
    near_gate: frozenset[str]
    circumstances: Circumstances


def freeze_dataset(session: Session, datasets_dir: Path, caps: Caps, *, parent_version: str, now: datetime) -> Dataset:
    """Write what stands now as a dataset, and what was set aside for people; the same evidence gives the same dataset.

    Raises:
        InvalidRequest: there is nothing to train on.
    """
    parent = datasets.load_newest_sha256(session)
    through = datasets.load_last_sequence(session)
    wait_for_holders(session, EVIDENCE)
    with history.open_snapshot(session) as reading:
        loaded = load_everything(reading, parent, parent_version)
    curated = curate(loaded.standing, loaded.decisions)
    snapshot = derive_snapshot(curated, loaded.standing, loaded.near_gate, caps)
    if not snapshot.train:
        raise InvalidRequest("there is nothing to train on: no preference pair stands in the training split")
    rows = derive_rows(snapshot, loaded.messages)
    dataset_sha256 = calculate_dataset_sha256(rows)
    manifest = derive_manifest(snapshot, curated, loaded.circumstances, dataset_sha256)
    ledger = derive_ledger(curated, snapshot)
    folder = write_dataset(
        datasets_dir, DatasetContent(dataset_sha256, rows, manifest, derive_card(manifest, rows), ledger)
    )
    dataset = datasets.save_dataset(session, dataset_sha256, str(folder), parent, manifest, through)
    datasets.save_items(session, dataset_sha256, (one.item for one in snapshot.everything))
    set_aside = describe_quarantined(loaded.everything, loaded.circumstances.quarantine, curated)
    quarantine.replace_quarantined(session, set_aside, now)
    return dataset


def load_everything(session: Session, parent: str | None, parent_version: str) -> Loaded:
    everything = load_history(session, parent_version)
    decisions = read_decisions(quarantine.load_quarantine_decisions(session))
    found = derive_quarantine(everything, decisions)
    standing = _without(session, everything, found.set_aside)
    messages = history.load_messages(session, {item.prompt_hash for item in standing.items})
    gate = history.load_gate_prompts(session)
    prompts = [Prompting(prompt_hash, derive_question(asked)) for prompt_hash, asked in sorted(messages.items())]
    circumstances = Circumstances(parent, parent_version, history.count_refused(session), len(gate), found)
    return Loaded(decisions, everything, standing, messages, find_near(prompts, gate), circumstances)


def load_history(session: Session, parent_version: str) -> History:
    pairs, labels = history.load_pair_evidence(session), history.load_label_evidence(session)
    rested_on = {event_id for pair in pairs for event_id in pair.evidence}
    rested_on |= {event_id for label in labels for event_id in label.evidence}
    ages = calculate_ages(parent_version, history.load_parents(session))
    return History(pairs, labels, history.load_said(session, rested_on), ages)


def _without(session: Session, everything: History, set_aside: Collection[UUID]) -> History:
    """The history as if these events supported nothing: their prompts' groups are derived anew."""
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
    said = {event_id: one for event_id, one in everything.said.items() if event_id not in gone}
    return replace(everything, pairs=pairs, labels=labels, said=said)
