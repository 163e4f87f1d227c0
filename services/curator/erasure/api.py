"""Erasure over HTTP: ask for it, read its certificate."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.curator.config.http import Admin
from services.curator.erasure import repository as erasures
from services.curator.erasure.handlers import Eraser
from shared.auth import require
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.tables.erasures import Erasure
from shared.user_hashes import FindUserHashes


class ErasureBody(BaseModel):
    """Whom to erase, as front ends name them: `user_id`, or for callers without one their `conversation_id`.

    It is hashed as soon as it is read, and neither stored nor logged.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user_id: str | None = Field(None, min_length=1, max_length=500)
    conversation_id: str | None = Field(None, min_length=1, max_length=500)
    even_unknown: bool = Field(
        False, description="Enter a user of whom nothing is stored: what comes later is dropped."
    )

    @model_validator(mode="after")
    def _name_one(self) -> "ErasureBody":
        if (self.user_id is None) == (self.conversation_id is None):
            raise ValueError("give either user_id or conversation_id")
        return self


class ErasureView(BaseModel):
    """`certificate` is there once the state is `done`, which takes until every service has forgotten the user: what was
    erased, every place looked at, which datasets were replaced, which models were trained on them, and until when raw
    copies may still be found elsewhere."""

    model_config = ConfigDict(from_attributes=True)

    erasure_id: UUID
    state: str
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    certificate: dict[str, Any] | None


class ErasureList(BaseModel):
    erasures: list[ErasureView]


def create_erasure_router(sessions: SessionFactory, eraser: Eraser, find_user_hashes: FindUserHashes) -> APIRouter:
    router = APIRouter(prefix="/v1/erasures", tags=["erasure"])

    described = {200: "This user was erased before.", 404: "Nothing of such a user is stored; nothing was erased."}

    @router.post("", status_code=201, responses={code: {"description": text} for code, text in described.items()})
    def erase(caller: Admin, body: ErasureBody, response: Response) -> ErasureView:
        """Erase a user, for ever; asking again returns the certificate of the first time."""
        user = find_user_hashes().hash_user(body.user_id, body.conversation_id)
        assert user is not None
        erasure, is_new = eraser.erase(user, caller, even_unknown=body.even_unknown)
        if not is_new:
            response.status_code = 200
        return _view(erasure)

    @router.get("", dependencies=[Depends(require("admin"))])
    def list_erasures(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> ErasureList:
        """List the newest first."""
        with sessions() as session:
            return ErasureList(erasures=[_view(row) for row in erasures.list_erasures(session, limit)])

    @router.get("/{erasure_id}", dependencies=[Depends(require("admin"))])
    def read_erasure(erasure_id: UUID) -> ErasureView:
        with sessions() as session:
            if (row := erasures.load_erasure(session, erasure_id)) is None:
                raise NotFound(f"no erasure {erasure_id}")
            return _view(row)

    return router


def _view(row: Erasure) -> ErasureView:
    view = ErasureView.model_validate(row)
    return view if row.state == "done" else view.model_copy(update={"certificate": None})
