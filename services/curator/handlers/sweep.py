"""What waits for too long: requests that nobody took up, feedback whose interaction never came."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from services.curator import metrics
from services.curator.handlers.control import close_request
from services.curator.handlers.retrain import announce_request
from services.curator.repository import datasets, derived, evidence, requests
from services.curator.settings import CuratorSettings
from shared.db import SessionFactory

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
            self._sweep_request(session, now)
        with self.sessions() as session, session.begin():
            if expired := evidence.expire_parked(session, self.settings.parked_ttl_days * 86_400):
                metrics.EXPIRED.inc(expired)
                logger.info("parked_feedback_expired", events=expired)
        with self.sessions() as session:
            show_counts(session, now)

    def _sweep_request(self, session: Session, now: datetime) -> None:
        """Close the open request past its deadline, unless its rollout goes on; announce it again without a run."""
        row = requests.load_open_request(session)
        if row is None:
            return
        if now >= row.deadline_at:
            if not requests.has_rollout(session, row.request_id):
                close_request(session, row.request_id, "deadline", None)
            return
        patience = timedelta(seconds=self.settings.announce_again_seconds)
        if now - row.announced_at < patience or requests.has_run(session, row.request_id):
            return
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
