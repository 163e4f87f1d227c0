"""What spans several features: the periodic sweep, and counts of everything the curator holds."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session

from services.curator.config import metrics
from services.curator.config.settings import CuratorSettings
from services.curator.datasets import repository as datasets
from services.curator.evidence.handlers import convert_old_prompts
from services.curator.evidence.repository import status
from services.curator.pairs.handlers import derive_groups
from services.curator.pairs.repository import count_labels, count_pairs, count_refusals
from services.curator.requests import repository as requests
from services.curator.requests.handlers import RequestSweeper
from shared.db import SessionFactory

logger = structlog.get_logger(__name__)

CONVERTED_PROMPTS = 500
"""A batch; meanwhile nobody stores evidence, for a fraction of a second."""
CONVERTED_BATCHES = 20
"""In one sweep."""
SHARE_OF_TIME = 0.02
"""Counting whole tables for the metrics takes at most this share of the sweeper's time."""


def summarise(session: Session) -> dict[str, Any]:
    """Count the evidence and what became of it."""
    pairs, labels = count_pairs(session), count_labels(session)
    feedback = status.count_feedback(session)
    return {
        "paused": requests.is_paused(session),
        "interactions": status.count_interactions(session),
        "events": _sum((kind, count) for kind, _, count in feedback),
        "parked": sum(count for _, state, count in feedback if state == "parked"),
        "expired": sum(count for _, state, count in feedback if state == "expired"),
        "conflicting_events": status.count_conflicting(session),
        "prompts": status.count_prompts(session),
        "pairs": _summarise_pairs(pairs),
        "labels": {
            "total": sum(count for *_, count in labels),
            "by_rule": _sum((rule, count) for rule, _, _, count in labels),
            "by_split": _sum((split, count) for *_, split, count in labels),
        },
        "refusals": count_refusals(session),
        "datasets": datasets.count_datasets(session),
    }


def _summarise_pairs(pairs: Sequence[tuple[str, str, str, int]]) -> dict[str, Any]:
    """Sum rows of (rule, state, split, count)."""
    active = [(rule, split, count) for rule, state, split, count in pairs if state == "active"]
    return {
        "total": sum(count for *_, count in pairs),
        "active": sum(count for *_, count in active),
        "by_rule": _sum((rule, count) for rule, _, count in active),
        "by_state": _sum((state, count) for _, state, _, count in pairs),
        "by_split": _sum((split, count) for _, split, count in active),
        "by_rule_and_split": {
            rule: _sum((split, count) for each, split, count in active if each == rule)
            for rule in sorted({rule for rule, *_ in active})
        },
    }


def _sum(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name] += count
    return dict(sorted(total.items()))


def show_counts(session: Session, now: datetime) -> None:
    """Show the tables as metrics."""
    for gauge in (metrics.PAIRS, metrics.LABELS, metrics.REFUSED):
        gauge.clear()
    for rule, state, split, count in count_pairs(session):
        metrics.PAIRS.labels(rule, state, split).set(count)
    for rule, desirable, split, count in count_labels(session):
        metrics.LABELS.labels(rule, str(desirable).lower(), split).set(count)
    for reason, count in count_refusals(session).items():
        metrics.REFUSED.labels(reason).set(count)
    parked, oldest = status.measure_parked(session, "parked")
    metrics.PARKED.set(parked)
    metrics.PARKED_AGE.set((now - oldest).total_seconds() if oldest else 0.0)


@dataclass
class Pace:
    """Lets something be done whose cost grows with the tables: it takes at most `SHARE_OF_TIME`."""

    due_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        return self.due_at is None or now >= self.due_at

    def note(self, began_at: datetime, ended_at: datetime) -> None:
        self.due_at = ended_at + (ended_at - began_at) / SHARE_OF_TIME


@dataclass(frozen=True)
class Sweeper:
    """Looks regularly at what waits for too long, and shows the tables as metrics."""

    sessions: SessionFactory
    settings: CuratorSettings
    topic_prefix: str
    clock: Callable[[], datetime]
    counting: Pace = field(default_factory=Pace)

    def sweep(self) -> None:
        now = self.clock()
        RequestSweeper(self.sessions, self.settings, self.topic_prefix).sweep(now)
        with self.sessions() as session, session.begin():
            if expired := status.expire_parked(session, self.settings.parked_ttl_days * 86_400):
                metrics.EXPIRED.inc(expired)
                logger.info("parked_feedback_expired", events=expired)
        self._convert_old_prompts()
        if self.counting.is_due(now):
            began_at = self.clock()
            with self.sessions() as session:
                show_counts(session, now)
            self.counting.note(began_at, self.clock())

    def _convert_old_prompts(self) -> None:
        """Once after an upgrade from 0.1.0; a look at an empty index ever after."""
        for _ in range(CONVERTED_BATCHES):
            with self.sessions() as session, session.begin():
                looked_at, touched = convert_old_prompts(session, CONVERTED_PROMPTS)
                derive_groups(session, touched)
            if looked_at:
                logger.info("prompts_converted", prompts=looked_at, groups=len(touched))
            if looked_at < CONVERTED_PROMPTS:
                return
