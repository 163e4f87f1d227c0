"""A champion, prompts of each split, and what the drift monitor finds in the tables."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import preview_dataset
from services.curator.monitor.domain.detectors import DetectorResult, MonitorReport
from services.curator.monitor.domain.evidence import Budget
from services.curator.monitor.domain.opinion import OpinionRules
from services.curator.monitor.domain.policy import RetrainLimits
from services.curator.monitor.domain.prompt_drift import PromptRules
from services.curator.monitor.domain.windows import EPOCH
from services.curator.monitor.handlers.look import Monitor, MonitorRules
from services.curator.monitor.handlers.windows import OpinionWatch, PromptWatch
from services.curator.monitor.ports import RequestRetrain
from shared.errors import Conflict
from shared.events import Reason
from shared.ids import new_id
from shared.tables.curator import (
    Feedback,
    Interaction,
    Pair,
    RetrainRequestRow,
)
from tests.builders import EMBEDDER

Sessions = sessionmaker[Session]
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
PROMOTED = NOW - 5 * HOUR
PERIOD = HOUR / 6
BUDGET = Budget(days=0.5)
RULES = MonitorRules(
    OpinionWatch(
        OpinionRules(PERIOD, settling=0, warm_up=100, warm_up_periods=1, least_users=50, margin=0.0),
        BUDGET,
    ),
    PromptWatch(PromptRules(HOUR, cycle=1, most=100, least_effect=0.03), BUDGET, EMBEDDER.version),
    RetrainLimits(cooldown=HOUR, monthly_budget=30, minimum_pairs=5, shadow=False),
    volume_pairs=10,
    schedule=None,
    window=HOUR,
)


def make_monitor(sessions: Sessions, ask: RequestRetrain) -> Monitor:
    return Monitor(sessions, "heliotrope", RULES, ask, preview, lambda: NOW)


preview = partial(preview_dataset, caps=Caps(200, 20), embedder=EMBEDDER)


def refuse(session: Session, *, reasons: list[Reason], now: datetime) -> RetrainRequestRow:
    raise Conflict("a request is open")


def add_pairs(sessions: Sessions, count: int, split: str = "train", at: datetime = NOW - HOUR) -> None:
    with sessions() as session, session.begin():
        session.add_all(
            Pair(
                pair_id=f"{split}-{at.timestamp()}-{n}",
                prompt_hash=f"{split}-{n}",
                rule="edit",
                rule_version=1,
                chosen=f"Send it back within 30 days, with order number {n}.",
                rejected="No idea.",
                rejected_interaction_id=new_id(),
                rejected_version="2",
                evidence=[new_id()],
                epsilon=0.08,
                state="active",
                created_at=at,
            )
            for n in range(count)
        )


def add_vote(
    session: Session,
    at: datetime,
    value: str | int,
    *,
    user: str | None = "ana",
    version: str = "2",
    served_at: datetime | None = None,
    state: str = "attached",
) -> UUID:
    kind, interaction_id = ("thumb" if isinstance(value, str) else "rating"), new_id()
    session.add(
        Interaction(
            interaction_id=interaction_id,
            key_id="frontend",
            prompt_hash="train-0",
            answer="Within 30 days.",
            model_version=version,
            served_at=served_at or at,
            user=user,
            content_hash="c",
            event={},
        )
    )
    session.flush()
    feedback = Feedback(
        event_id=new_id(),
        key_id="frontend",
        interaction_id=interaction_id,
        type=kind,
        user=user,
        happened_at=at,
        received_at=at,
        content_hash="c",
        state=state,
        event={"feedback": {"type": kind, "value": value}},
    )
    session.add(feedback)
    return feedback.event_id


def add_votes(sessions: Sessions, rate: float, count: int, at: datetime) -> None:
    """From as many users, a second apart, in an order drawn once; exactly this rate."""
    ups = [n < rate * count for n in range(count)]
    random.Random(1).shuffle(ups)
    with sessions() as session, session.begin():
        for n, up in enumerate(ups):
            add_vote(session, at + timedelta(seconds=n), "up" if up else "down", user=f"{at}-{n}")


def begin_window(at: datetime, period: timedelta = PERIOD) -> datetime:
    """When the first window begins that has not begun before."""
    return EPOCH - (EPOCH - at) // period * period


def list_requests(sessions: Sessions) -> list[RetrainRequestRow]:
    with sessions() as session:
        return list(session.scalars(select(RetrainRequestRow).order_by(RetrainRequestRow.requested_at)))


def find(report: MonitorReport, name: str) -> DetectorResult:
    return next(result for result in report.results if result.name == name)


def add_request(sessions: Sessions, **changes: Any) -> UUID:
    content: dict[str, Any] = {
        "request_id": new_id(),
        "dataset_sha256": "d",
        "parent_version": "2",
        "reasons": [],
        "state": "open",
        "requested_at": NOW - HOUR,
        "deadline_at": NOW + HOUR,
        "announced_at": NOW - HOUR,
    }
    request = RetrainRequestRow(**content | changes)
    with sessions() as session, session.begin():
        session.add(request)
    return request.request_id
