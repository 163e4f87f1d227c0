"""Freezing a dataset and asking for retraining, in one transaction."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.curator.adapters.dataset_files import write_dataset
from services.curator.domain.rows import calculate_dataset_sha256, derive_rows
from services.curator.domain.snapshot import Caps, Prompting, derive_manifest, derive_snapshot, find_near
from services.curator.domain.text import derive_question
from services.curator.repository import datasets, derived, requests
from services.curator.repository.monitor import load_champion
from services.curator.settings import CuratorSettings
from shared.db import lock_all
from shared.errors import Conflict, InvalidRequest
from shared.events import Reason, RetrainRequested
from shared.ids import new_id
from shared.outbox import append_event
from shared.settings import Settings
from shared.tables.curator import Dataset, Outbox, RetrainRequestRow

logger = structlog.get_logger(__name__)


def freeze_dataset(session: Session, datasets_dir: Path, caps: Caps) -> Dataset:
    """Write what stands now as a dataset; the same evidence gives the same dataset.

    Raises:
        InvalidRequest: there is nothing to train on.
    """
    pairs, labels = datasets.load_pair_evidence(session), datasets.load_label_evidence(session)
    messages = {pair.prompt_hash: pair.messages for pair in pairs}
    messages |= {label.prompt_hash: label.messages for label in labels}
    prompts = [Prompting(prompt_hash, derive_question(asked)) for prompt_hash, asked in messages.items()]
    snapshot = derive_snapshot(pairs, labels, find_near(prompts, datasets.load_gate_prompts(session)), caps)
    if not snapshot.train:
        raise InvalidRequest("there is nothing to train on: no preference pair stands in the training split")
    rows = derive_rows(snapshot)
    dataset_sha256 = calculate_dataset_sha256(rows)
    manifest = derive_manifest(snapshot, derived.count_refusals(session), dataset_sha256)
    folder = write_dataset(datasets_dir, dataset_sha256, rows, manifest)
    parent = datasets.load_newest_sha256(session)
    return datasets.save_dataset(session, dataset_sha256, str(folder), parent, manifest)


def request_retrain(
    session: Session, *, settings: Settings, curator: CuratorSettings, reasons: list[Reason], now: datetime
) -> RetrainRequestRow:
    """Freeze a dataset and announce a request for retraining on it, if the session's transaction commits.

    Raises:
        Conflict: the loop is paused, a request is open, or no champion is known.
        InvalidRequest: there is nothing to train on.
    """
    lock_all(session, ["retrain"])
    if requests.is_paused(session):
        raise Conflict("the loop is paused")
    if (standing := requests.load_open_request(session)) is not None:
        raise Conflict(f"request {standing.request_id} is open until {standing.deadline_at.isoformat()}")
    if (champion := load_champion(session, settings.family)) is None:
        raise Conflict(f"no champion of {settings.family} is known yet: adopt one first")
    dataset = freeze_dataset(session, settings.datasets, Caps(curator.pairs_per_user, curator.pairs_per_prompt))
    row = RetrainRequestRow(
        request_id=new_id(),
        dataset_sha256=dataset.dataset_sha256,
        parent_version=champion.version,
        reasons=[msgspec.to_builtins(reason) for reason in reasons],
        recipe=curator.recipe,
        state="open",
        requested_at=now,
        deadline_at=now + timedelta(seconds=curator.request_deadline_seconds),
        announced_at=now,
    )
    session.add(row)
    session.flush()
    announce_request(session, row, dataset.uri, topic_prefix=settings.topic_prefix)
    logger.info("retrain_requested", request_id=str(row.request_id), dataset=dataset.dataset_sha256)
    return row


def announce_request(session: Session, row: RetrainRequestRow, dataset_uri: str, *, topic_prefix: str) -> None:
    """Announce an open request, for the first time or again."""
    event = RetrainRequested(
        request_id=row.request_id,
        reasons=msgspec.convert(row.reasons, list[Reason]),
        dataset_sha256=row.dataset_sha256,
        dataset_uri=dataset_uri,
        parent_version=row.parent_version,
        requested_at=row.requested_at,
        deadline_at=row.deadline_at,
        recipe=row.recipe,
    )
    append_event(session, Outbox, event, source="curator", topic_prefix=topic_prefix)
