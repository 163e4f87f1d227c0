"""HTTP: feedback and interactions in, what a caller said of an answer out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive

from services.ingest.bodies import Bodies
from services.ingest.callers import Callers, Sender
from services.ingest.decoding import decode_batch
from services.ingest.handlers import Intake, Submission, describe_outcome
from services.ingest.hot_path import Door, Reply
from services.ingest.openapi import BATCH_RESPONSES, READ_RESPONSES, SINGLE_RESPONSES, describe_body
from services.ingest.rate_limits import RateLimits
from services.ingest.repository import has_interaction, list_feedback
from services.ingest.schemas import Accepted, Outcome, Outcomes, Problem
from shared.db import SessionFactory
from shared.errors import HeliotropeError, NotFound, Unavailable
from shared.tables.curator import Feedback

_encode = msgspec.json.Encoder().encode


class InteractionNotFound(NotFound):
    title = "Interaction not found"


@dataclass(frozen=True)
class Room:
    """What the routes need."""

    feedback: Intake
    interactions: Intake
    bodies: Bodies
    callers: Callers
    rate_limits: RateLimits
    sessions: SessionFactory
    user_hash_secret: str


class Doors:
    """What is posted, whichever way it came in; headers by their names in lower case."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def by_path(self) -> dict[str, Door]:
        return {
            "/v1/feedback": self.take_feedback,
            "/v1/feedback/batch": self.take_feedback_batch,
            "/v1/interactions": self.take_interaction,
            "/v1/interactions/batch": self.take_interaction_batch,
        }

    async def take_feedback(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        sender = self._room.callers.identify(headers)
        submission = await self._take(self._room.feedback, sender, headers, receive)
        return 202, _encode(Accepted(event_id=submission.event_id))

    async def take_interaction(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        sender = self._room.callers.identify_frontend(headers)
        submission = await self._take(self._room.interactions, sender, headers, receive)
        return 202, _encode(Accepted(event_id=submission.event_id, interaction_id=submission.event_id))

    async def take_feedback_batch(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        sender = self._room.callers.identify(headers)
        return await self._take_batch(self._room.feedback, sender, headers, receive)

    async def take_interaction_batch(self, headers: Mapping[str, str], receive: Receive) -> Reply:
        sender = self._room.callers.identify_frontend(headers)
        return await self._take_batch(self._room.interactions, sender, headers, receive)

    async def _take(self, intake: Intake, sender: Sender, headers: Mapping[str, str], receive: Receive) -> Submission:
        self._room.rate_limits.take(sender.key_id, 1)
        return await intake.take(await self._room.bodies.read(headers, receive), sender)

    async def _take_batch(self, intake: Intake, sender: Sender, headers: Mapping[str, str], receive: Receive) -> Reply:
        raws = decode_batch(await self._room.bodies.read(headers, receive))
        self._room.rate_limits.take(sender.key_id, len(raws))
        taken = await intake.take_all(raws, sender)
        outcomes = [_describe(index, submission, error) for index, (submission, error) in enumerate(taken)]
        return 200, _encode(Outcomes(outcomes))


def create_router(room: Room) -> APIRouter:
    router = APIRouter(prefix="/v1")
    doors = Doors(room)

    @router.post("/feedback", **describe_body("feedback", SINGLE_RESPONSES))
    async def post_feedback(request: Request) -> Response:
        """One feedback event; 202 once the broker has stored it, also when its interaction is not known yet."""
        return await _enter(doors.take_feedback, request)

    @router.post("/feedback/batch", **describe_body("feedback_batch", BATCH_RESPONSES))
    async def post_feedback_batch(request: Request) -> Response:
        """Up to 1,000 feedback events, with one outcome for each, in order."""
        return await _enter(doors.take_feedback_batch, request)

    @router.post("/interactions", **describe_body("interaction", SINGLE_RESPONSES))
    async def post_interaction(request: Request) -> Response:
        """An answer that was served without the gateway."""
        return await _enter(doors.take_interaction, request)

    @router.post("/interactions/batch", **describe_body("interaction_batch", BATCH_RESPONSES))
    async def post_interactions_batch(request: Request) -> Response:
        """Up to 1,000 interactions, with one outcome for each, in order."""
        return await _enter(doors.take_interaction_batch, request)

    @router.get("/feedback", **READ_RESPONSES)
    def get_feedback(
        request: Request,
        interaction_id: UUID,
        user_id: Annotated[str | None, Query(description="only what this user said; a token says who")] = None,
    ) -> Response:
        """What this caller has said of an answer, in the order in which it happened."""
        sender = room.callers.identify(request.headers)
        sender.check_may_speak_of(interaction_id)
        rows = _load_feedback(room.sessions, interaction_id, sender)
        if sender.token is not None or user_id is not None:
            user = sender.user(user_id, None, room.user_hash_secret)
            rows = [row for row in rows if row.user == user]
        events = [_show(row) for row in rows]
        return Response(_encode({"interaction_id": interaction_id, "events": events}), media_type="application/json")

    return router


async def _enter(door: Door, request: Request) -> Response:
    status, body = await door(request.headers, request.receive)
    return Response(body, status, media_type="application/json")


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
    event_id = row.event.get("event_id", row.event_id)
    return {"event_id": event_id, "happened_at": row.happened_at, **said, "metadata": row.event.get("metadata")}
