"""Freezing a dataset and asking for retraining, in one transaction."""

from datetime import datetime, timedelta

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.curator.domain.snapshot import Caps
from services.curator.handlers.freeze import freeze_dataset
from services.curator.repository import requests
from services.curator.repository.monitor import load_champion
from services.curator.settings import CuratorSettings
from shared.db import lock_all
from shared.errors import Conflict
from shared.events import Reason, RetrainRequested
from shared.ids import new_id
from shared.outbox import append_event
from shared.settings import Settings
from shared.tables.curator import Outbox, RetrainRequestRow

logger = structlog.get_logger(__name__)

MONITOR = "monitor"
"""The requester that the drift monitor is."""


def request_retrain(
    session: Session,
    *,
    settings: Settings,
    curator: CuratorSettings,
    reasons: list[Reason],
    now: datetime,
    requested_by: str = MONITOR,
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
    caps = Caps(curator.pairs_per_user, curator.pairs_per_prompt)
    dataset = freeze_dataset(session, settings.datasets, caps, parent_version=champion.version, now=now)
    row = RetrainRequestRow(
        request_id=new_id(),
        dataset_sha256=dataset.dataset_sha256,
        parent_version=champion.version,
        reasons=[msgspec.to_builtins(reason) for reason in reasons],
        recipe=curator.recipe,
        requested_by=requested_by,
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
        requested_by=row.requested_by,
    )
    append_event(session, Outbox, event, source="curator", topic_prefix=topic_prefix)
