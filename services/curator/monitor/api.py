"""The drift monitor over HTTP: what its detectors showed last."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.orm import Session

from services.curator.config.http import Limit, View
from services.curator.monitor.domain.evidence import SHARES, Budget
from services.curator.monitor.repository.loop import list_detectors
from services.curator.monitor.repository.windows import count_verdicts, list_windows
from shared.auth import require
from shared.db import SessionFactory
from shared.summaries import read_summary
from shared.tables.drift import DetectorState


class DetectorView(BaseModel):
    """`value` and `threshold` are null where a detector has none, or cannot measure yet."""

    name: str
    summary: str
    value: float | None
    threshold: float | None
    wants_retraining: bool
    figures: dict[str, Any]
    updated_at: datetime

    @classmethod
    def of(cls, row: DetectorState) -> "DetectorView":
        return cls(name=row.name, updated_at=row.updated_at, **_rename_summary(row.state))


class DecisionView(BaseModel):
    action: str
    summary: str
    at: datetime


class BudgetView(BaseModel):
    """At most one needless request for drift in `days`, on average. Who has which share of that alarms at `thresholds`,
    in days of evidence; `alarms` and `unmeasurable` count the windows of the last `days` that ended so."""

    days: float
    shares: dict[str, float]
    thresholds: dict[str, float]
    alarms: dict[str, int]
    unmeasurable: dict[str, int]


class DetectorList(BaseModel):
    """`decision` is what the detectors last led to: `request`, `shadow` or `wait`; null before the first look."""

    detectors: list[DetectorView]
    decision: DecisionView | None
    budget: BudgetView


class WindowView(View):
    """What a detector saw in a window (`inputs`), and what it made of it when the window closed.

    `evidence` and `threshold` in days. `explanation`: topics with example prompts by hash, and points in a plane.
    """

    detector: str
    model_version: str
    began_at: datetime
    ended_at: datetime
    closed_at: datetime
    inputs: dict[str, Any]
    e_value: float | None
    evidence: float | None
    threshold: float
    verdict: str
    summary: str
    explanation: dict[str, Any] | None


class WindowList(BaseModel):
    windows: list[WindowView]


def create_detectors_router(sessions: SessionFactory, budget: Budget, clock: Callable[[], datetime]) -> APIRouter:
    router = APIRouter(prefix="/v1/detectors", tags=["detectors"])

    @router.get("", dependencies=[Depends(require("ops", "admin"))])
    def detectors() -> DetectorList:
        with sessions() as session:
            rows = list_detectors(session)
            shown = _show_budget(session, budget, clock())
        decisions = [
            DecisionView(at=row.updated_at, **_rename_summary(row.state)) for row in rows if row.name == "decision"
        ]
        return DetectorList(
            detectors=[DetectorView.of(row) for row in rows if row.name != "decision"],
            decision=decisions[0] if decisions else None,
            budget=shown,
        )

    @router.get("/windows", dependencies=[Depends(require("ops", "admin"))])
    def windows(detector: str | None = None, limit: Limit = 100) -> WindowList:
        """Give the newest windows first, of one detector or of all."""
        with sessions() as session:
            return WindowList(
                windows=[WindowView.model_validate(row) for row in list_windows(session, detector, limit)]
            )

    return router


def _show_budget(session: Session, budget: Budget, now: datetime) -> BudgetView:
    since = now - timedelta(days=budget.days)
    return BudgetView(
        days=budget.days,
        shares=dict(SHARES),
        thresholds={detector: budget.threshold(detector) for detector in SHARES},
        alarms=count_verdicts(session, since, "alarm"),
        unmeasurable=count_verdicts(session, since, "unmeasurable"),
    )


def _rename_summary(state: dict[str, Any]) -> dict[str, Any]:
    """The stored state under today's names: what release 0.1.0 wrote stands until the next look."""
    return {key: value for key, value in state.items() if key != "words"} | {"summary": read_summary(state)}
