"""Imports over HTTP: what there is, and taking one back."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from services.curator.config.http import READERS, Admin, View
from services.curator.imports import repository as imports
from services.curator.imports.handlers import Withdrawer
from shared.db import SessionFactory
from shared.tables.erasures import ImportWithdrawal


class WithdrawalBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=500)


class ImportView(View):
    name: str
    answers: int
    feedback: int


class WithdrawalView(View):
    """`certificate` says what was deleted, which datasets were replaced, and which models were trained on them."""

    withdrawal_id: UUID
    name: str
    state: str
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None
    certificate: dict[str, Any] | None


class ImportList(BaseModel):
    """`imports` are those of which something is stored; `withdrawals` those that were taken back, newest first."""

    imports: list[ImportView]
    withdrawals: list[WithdrawalView]


def create_imports_router(sessions: SessionFactory, withdrawer: Withdrawer) -> APIRouter:
    router = APIRouter(prefix="/v1/imports", tags=["imports"])

    @router.get("", dependencies=READERS)
    def list_imports() -> ImportList:
        with sessions() as session:
            return ImportList(
                imports=[ImportView.model_validate(one) for one in imports.count_imports(session)],
                withdrawals=[_view(row) for row in imports.list_withdrawals(session)],
            )

    described = {200: "It was taken back before.", 404: "Nothing that such an import brought is stored."}

    @router.post(
        "/withdrawals", status_code=201, responses={code: {"description": text} for code, text in described.items()}
    )
    def withdraw(caller: Admin, body: WithdrawalBody, response: Response) -> WithdrawalView:
        """Take an import back, for ever: what bears its name is dropped from now on."""
        withdrawal, is_new = withdrawer.withdraw(body.name, caller)
        if not is_new:
            response.status_code = 200
        return _view(withdrawal)

    return router


def _view(row: ImportWithdrawal) -> WithdrawalView:
    return WithdrawalView.model_validate(row)
