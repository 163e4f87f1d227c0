"""Pairs over HTTP, a page at a time."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.curator.config.http import READERS, Limit, View
from services.curator.pairs import repository
from shared.db import SessionFactory
from shared.errors import FieldError, InvalidRequest
from shared.tables.curator import Pair

Cursor = tuple[datetime, str]


def encode_cursor(at: datetime, key: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {key}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Raises: InvalidRequest: it is not one of ours."""
    try:
        at, _, key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")
        when = datetime.fromisoformat(at)
    except (binascii.Error, ValueError):
        when, key = datetime.min, ""  # noqa: DTZ901 - refused below
    if when.tzinfo is None or not key or "\0" in key:
        message = "not a cursor that an earlier page gave"
        raise InvalidRequest(f"after: {message}", errors=[FieldError("after", message)])
    return when, key


class PairView(View):
    pair_id: str
    prompt_hash: str
    rule: str
    rule_version: int
    chosen: str
    rejected: str
    chosen_interaction_id: UUID | None
    rejected_interaction_id: UUID
    chosen_version: str | None
    rejected_version: str
    evidence: list[UUID]
    epsilon: float
    state: str
    reason: str | None
    created_at: datetime


class PairInSplit(PairView):
    split: str


class PairList(BaseModel):
    pairs: list[PairInSplit]
    next_cursor: str | None
    """Given as `after`, the following page; None on the last one."""


def create_pairs_router(sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["curation"], dependencies=READERS)

    @router.get("/pairs")
    def list_pairs(
        interaction_id: UUID | None = None,
        prompt_hash: str | None = None,
        rule: str | None = None,
        split: Literal["train", "validation", "gate"] | None = None,
        state: Literal["active", "contested", "refused"] | None = None,
        limit: Limit = 100,
        after: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before")] = None,
    ) -> PairList:
        """List the newest first, a page at a time."""
        with sessions() as session:
            rows = repository.list_pairs(
                session,
                interaction_id=interaction_id,
                prompt_hash=prompt_hash,
                rule=rule,
                split=split,
                state=state,
                limit=limit + 1,
                after=decode_cursor(after) if after is not None else None,
            )
            return _make_page(rows, limit)

    return router


def _make_page(rows: Sequence[tuple[Pair, str]], limit: int) -> PairList:
    """Make a page of the first `limit` rows; a row more says that there is another page."""
    views = [PairInSplit(**PairView.model_validate(pair).model_dump(), split=split) for pair, split in rows]
    last = views[limit - 1] if len(views) > limit else None
    return PairList(pairs=views[:limit], next_cursor=encode_cursor(last.created_at, last.pair_id) if last else None)
