"""What waits for people: parked feedback, contested pairs, quarantine; and what they decide about it."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.curator.config.http import READERS, Limit, View
from services.curator.evidence.repository import status
from services.curator.review import repository as review
from services.curator.review.handlers import decide_on, list_open_quarantine
from services.curator.weighing.repository import load_quarantine_decisions
from shared.acts import record_act
from shared.auth import Caller, require
from shared.db import SessionFactory
from shared.tables.erasures import Act

Kind = Literal["user", "event", "pair", "label"]
Reviewer = Annotated[Caller, Depends(require("data", "admin"))]


class ParkedView(View):
    """Feedback that waits; nothing of what it says is shown."""

    event_id: UUID
    type: str
    state: str
    received_at: datetime
    missing: list[UUID]
    """The interactions that have not arrived."""


class ParkedList(BaseModel):
    count: int
    oldest_received_at: datetime | None
    parked: list[ParkedView]


class ContestedSide(View):
    pair_id: str
    chosen: str
    rejected: str
    rule: str
    epsilon: float
    evidence: list[UUID]


class ContestedView(View):
    """Pairs of one prompt that say the opposite of each other, none clearly stronger."""

    prompt_hash: str
    messages: list[dict[str, Any]]
    sides: list[ContestedSide]


class ContestedList(BaseModel):
    contested: list[ContestedView]


class DecisionBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500, description="why, for the record")


class DecisionView(View):
    subject_kind: str
    subject_id: str
    decision: str
    decided_by: str
    decided_at: datetime
    reason: str


class QuarantinedView(View):
    subject_kind: str
    subject_id: str
    reason: str
    detail: dict[str, Any]
    found_at: datetime
    decision: DecisionView | None


class QuarantineList(BaseModel):
    """What the newest snapshot set aside; a decision on it stands from the next one on."""

    quarantined: list[QuarantinedView]


def create_review_router(sessions: SessionFactory, clock: Callable[[], datetime]) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["review"])

    @router.get("/parked", dependencies=READERS)
    def list_parked(state: Literal["parked", "expired"] = "parked", limit: Limit = 100) -> ParkedList:
        """List feedback whose interaction has not arrived, the longest waiting first."""
        with sessions() as session:
            count, oldest = status.measure_parked(session, state)
            rows = status.list_parked(session, state, limit)
            return ParkedList(
                count=count, oldest_received_at=oldest, parked=[ParkedView.model_validate(row) for row in rows]
            )

    @router.get("/contested", dependencies=READERS)
    def list_contested(limit: Limit = 100) -> ContestedList:
        """List contested pairs with both sides' evidence, by prompt."""
        with sessions() as session:
            rows = review.list_contested(session, limit)
            return ContestedList(contested=[ContestedView.model_validate(row) for row in rows])

    _add_quarantine_routes(router, sessions, clock)
    return router


def _add_quarantine_routes(router: APIRouter, sessions: SessionFactory, clock: Callable[[], datetime]) -> None:
    @router.get("/quarantine", dependencies=READERS)
    def list_quarantine() -> QuarantineList:
        with sessions() as session:
            rows = list_open_quarantine(session)
            return QuarantineList(quarantined=[QuarantinedView.model_validate(row) for row in rows])

    @router.get("/quarantine/decisions", dependencies=READERS)
    def list_decisions() -> list[DecisionView]:
        """Return the decisions in force."""
        with sessions() as session:
            return [DecisionView.model_validate(row) for row in load_quarantine_decisions(session)]

    @router.post("/quarantine/{kind}/{subject}/{decision}")
    def decide(
        kind: Kind,
        subject: str,
        decision: Literal["release", "reject"],
        caller: Reviewer,
        body: DecisionBody | None = None,
    ) -> DecisionView:
        """Release something from quarantine, or reject it for good; the same for a contested pair."""
        with sessions() as session, session.begin():
            row = decide_on(session, kind, subject, decision, caller.name, body.reason if body else "", clock())
            named = {} if kind == "user" else {"subject_id": subject}
            detail = {"kind": kind, "decision_id": row.decision_id, "reason": row.reason, **named}
            record_act(session, Act, caller, f"quarantine_{decision}", f"decision {row.decision_id}", detail)
            return DecisionView.model_validate(row)
