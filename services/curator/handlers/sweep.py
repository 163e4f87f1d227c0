"""What waits for too long: requests that nobody took up, feedback whose interaction never came."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.orm import Session

from services.curator import metrics
from services.curator.handlers.control import close_request
from services.curator.handlers.retrain import announce_request
from services.curator.repository import datasets, derived, evidence, requests
from services.curator.settings import CuratorSettings
from shared.db import SessionFactory
from shared.outbox import announce_again
from shared.tables.curator import RetrainRequestRow

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sweeper:
    sessions: SessionFactory
    settings: CuratorSettings
    topic_prefix: str
    clock: Callable[[], datetime]

    def sweep(self) -> None:
        now = self.clock()
        with self.sessions() as session, session.begin():
            self._close_late_request(session, now)
        announce_again(self.sessions, partial(self._list_unanswered, now=now), partial(self._announce, now=now))
        with self.sessions() as session, session.begin():
            if expired := evidence.expire_parked(session, self.settings.parked_ttl_days * 86_400):
                metrics.EXPIRED.inc(expired)
                logger.info("parked_feedback_expired", events=expired)
        with self.sessions() as session:
            show_counts(session, now)

    def _close_late_request(self, session: Session, now: datetime) -> None:
        """Close the open request past its deadline, unless its rollout goes on."""
        row = requests.load_open_request(session)
        if row is not None and now >= row.deadline_at and not requests.has_rollout(session, row.request_id):
            close_request(session, row.request_id, "deadline", None)

    def _list_unanswered(self, session: Session, now: datetime) -> list[RetrainRequestRow]:
        """The open request, if it was announced a while ago and has no run."""
        row = requests.load_open_request(session)
        patience = timedelta(seconds=self.settings.announce_again_seconds)
        if row is None or now >= row.deadline_at or now - row.announced_at < patience:
            return []
        return [] if requests.has_run(session, row.request_id) else [row]

    def _announce(self, session: Session, row: RetrainRequestRow, now: datetime) -> None:
        if (dataset := datasets.load_dataset(session, row.dataset_sha256)) is not None:
            row.announced_at = now
            announce_request(session, row, dataset.uri, topic_prefix=self.topic_prefix)


def show_counts(session: Session, now: datetime) -> None:
    """Show the tables as metrics."""
    for gauge in (metrics.PAIRS, metrics.LABELS, metrics.REFUSED):
        gauge.clear()
    for rule, state, split, count in derived.count_pairs(session):
        metrics.PAIRS.labels(rule, state, split).set(count)
    for rule, desirable, split, count in derived.count_labels(session):
        metrics.LABELS.labels(rule, str(desirable).lower(), split).set(count)
    for reason, count in derived.count_refusals(session).items():
        metrics.REFUSED.labels(reason).set(count)
    parked, oldest = evidence.measure_parked(session)
    metrics.PARKED.set(parked)
    metrics.PARKED_AGE.set((now - oldest).total_seconds() if oldest else 0.0)
