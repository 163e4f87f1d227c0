"""HTTP: feedback and interactions in, what a caller said of an answer out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from services.ingest.callers import Sender, identify, identify_frontend
from services.ingest.decoding import decode_batch
from services.ingest.handlers import Intake, Submission, describe_outcome
from services.ingest.openapi import BATCH_RESPONSES, READ_RESPONSES, SINGLE_RESPONSES, describe_body
from services.ingest.repository import has_interaction, list_feedback
from services.ingest.schemas import Accepted, Outcome, Outcomes, Problem
from shared.db import SessionFactory
from shared.errors import HeliotropeError, NotFound, Unavailable
from shared.feedback_tokens import FeedbackTokens
from shared.tables.curator import Feedback

_encode = msgspec.json.Encoder().encode


class InteractionNotFound(NotFound):
    title = "Interaction not found"


@dataclass(frozen=True)
class Room:
    """What the routes need."""

    feedback: Intake
    interactions: Intake
    tokens: FeedbackTokens
    sessions: SessionFactory
    user_hash_secret: str
    now: Callable[[], datetime]


def create_router(room: Room) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/feedback", **describe_body("feedback", SINGLE_RESPONSES))
    async def post_feedback(request: Request) -> Response:
        """One feedback event; 202 once the broker has stored it, also when its interaction is not known yet."""
        sender = identify(request, room.tokens, room.now())
        return _accept(Accepted(event_id=(await room.feedback.take(await request.body(), sender)).event_id))

    @router.post("/feedback/batch", **describe_body("feedback_batch", BATCH_RESPONSES))
    async def post_feedback_batch(request: Request) -> Response:
        """Up to 1,000 feedback events, with one outcome for each, in order."""
        sender = identify(request, room.tokens, room.now())
        return await _take_batch(room.feedback, await request.body(), sender)

    @router.post("/interactions", **describe_body("interaction", SINGLE_RESPONSES))
    async def post_interaction(request: Request) -> Response:
        """An answer that was served without the gateway."""
        sender = identify_frontend(request)
        submission = await room.interactions.take(await request.body(), sender)
        return _accept(Accepted(event_id=submission.event_id, interaction_id=submission.event_id))

    @router.post("/interactions/batch", **describe_body("interaction_batch", BATCH_RESPONSES))
    async def post_interactions_batch(request: Request) -> Response:
        """Up to 1,000 interactions, with one outcome for each, in order."""
        sender = identify_frontend(request)
        return await _take_batch(room.interactions, await request.body(), sender)

    @router.get("/feedback", **READ_RESPONSES)
    def get_feedback(
        request: Request,
        interaction_id: UUID,
        user_id: Annotated[str | None, Query(description="only what this user said; a token says who")] = None,
    ) -> Response:
        """What this caller has said of an answer, in the order in which it happened."""
        sender = identify(request, room.tokens, room.now())
        sender.check_may_speak_of(interaction_id)
        rows = _load_feedback(room.sessions, interaction_id, sender)
        if sender.token is not None or user_id is not None:
            user = sender.user(user_id, None, room.user_hash_secret)
            rows = [row for row in rows if row.user == user]
        events = [_show(row) for row in rows]
        return Response(_encode({"interaction_id": interaction_id, "events": events}), media_type="application/json")

    return router


def _accept(accepted: Accepted) -> Response:
    return Response(_encode(accepted), 202, media_type="application/json")


async def _take_batch(intake: Intake, raw: bytes, sender: Sender) -> Response:
    taken = await intake.take_all(decode_batch(raw), sender)
    outcomes = [_describe(index, submission, error) for index, (submission, error) in enumerate(taken)]
    return Response(_encode(Outcomes(outcomes)), media_type="application/json")


def _describe(index: int, submission: Submission | None, error: HeliotropeError | None) -> Outcome:
    event_id = submission.event_id if submission else msgspec.UNSET
    if error is None:
        return Outcome("accepted", event_id)
    errors = [{"field": f"events.{index}.{wrong.field}", "message": wrong.message} for wrong in error.errors]
    problem = Problem(error.title, error.status, error.detail, errors=errors or msgspec.UNSET)
    return Outcome(describe_outcome(error), event_id, problem)


def _load_feedback(sessions: SessionFactory, interaction_id: UUID, sender: Sender) -> list[Feedback]:
    try:
        with sessions() as session:
            if not has_interaction(session, interaction_id):
                raise InteractionNotFound(f"no interaction {interaction_id} is known (yet)")
            return list_feedback(session, interaction_id, sender.key_id)
    except SQLAlchemyError as error:
        raise Unavailable("the database does not answer; feedback is taken all the same") from error


def _show(row: Feedback) -> dict[str, Any]:
    """The event as it was sent, with the time at which it counts."""
    said = row.event.get("feedback", {})
    return {"event_id": row.event_id, "happened_at": row.happened_at, **said, "metadata": row.event.get("metadata")}
