"""The drift monitor over HTTP: what its detectors showed last."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from services.curator.repository.monitor import list_detectors
from shared.auth import require
from shared.db import SessionFactory
from shared.tables.curator import DetectorState


class Detector(BaseModel):
    """`value` and `threshold` are null where a detector has none, or cannot measure yet."""

    name: str
    words: str
    value: float | None
    threshold: float | None
    wants_retraining: bool
    figures: dict[str, Any]
    updated_at: datetime

    @classmethod
    def of(cls, row: DetectorState) -> "Detector":
        return cls(name=row.name, updated_at=row.updated_at, **row.state)


class Decided(BaseModel):
    action: str
    words: str
    at: datetime


class DetectorList(BaseModel):
    """`decision` is what the detectors last led to: `request`, `shadow` or `wait`; null before the first look."""

    detectors: list[Detector]
    decision: Decided | None


def make_router(sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1/detectors", tags=["detectors"])

    @router.get("", dependencies=[Depends(require("ops", "admin"))])
    def detectors() -> DetectorList:
        with sessions() as session:
            rows = list_detectors(session)
        decisions = [Decided(at=row.updated_at, **row.state) for row in rows if row.name == "decision"]
        return DetectorList(
            detectors=[Detector.of(row) for row in rows if row.name != "decision"],
            decision=decisions[0] if decisions else None,
        )

    return router
