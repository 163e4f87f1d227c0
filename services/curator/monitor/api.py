"""The drift monitor over HTTP: what its detectors showed last."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from services.curator.monitor.repository import list_detectors
from shared.auth import require
from shared.db import SessionFactory
from shared.summaries import read_summary
from shared.tables.curator import DetectorState


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


class DetectorList(BaseModel):
    """`decision` is what the detectors last led to: `request`, `shadow` or `wait`; null before the first look."""

    detectors: list[DetectorView]
    decision: DecisionView | None


def create_detectors_router(sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1/detectors", tags=["detectors"])

    @router.get("", dependencies=[Depends(require("ops", "admin"))])
    def detectors() -> DetectorList:
        with sessions() as session:
            rows = list_detectors(session)
        decisions = [
            DecisionView(at=row.updated_at, **_rename_summary(row.state)) for row in rows if row.name == "decision"
        ]
        return DetectorList(
            detectors=[DetectorView.of(row) for row in rows if row.name != "decision"],
            decision=decisions[0] if decisions else None,
        )

    return router


def _rename_summary(state: dict[str, Any]) -> dict[str, Any]:
    """The stored state under today's names: what release 0.1.0 wrote stands until the next look."""
    return {key: value for key, value in state.items() if key != "words"} | {"summary": read_summary(state)}
