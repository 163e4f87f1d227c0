"""HTTP: rollouts and routing for operators, commands for admins."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import structlog
from fastapi import APIRouter, Depends, Query, Request

from services.deployer.domain.approval_policy import ApprovalPolicy
from services.deployer.domain.audit import verify_chain
from services.deployer.domain.shadow import Comparison, MirroredAnswer
from services.deployer.handlers.approving import RolloutNotFound
from services.deployer.handlers.commands import Commands
from services.deployer.handlers.policy import Policies
from services.deployer.handlers.shadowing import Shadowing
from services.deployer.repository.audit import load_audit_page
from services.deployer.repository.notices import list_notices
from services.deployer.repository.rollouts import list_rollouts, load_rollout
from services.deployer.schemas import (
    ApproveBody,
    AssertionView,
    AuditLine,
    AuditLog,
    CommandBody,
    ComparisonBody,
    NoticeList,
    NoticeView,
    PolicyBody,
    PolicyView,
    RollbackBody,
    RolloutList,
    RolloutView,
)
from shared.assertions import LIFETIME, issue_assertion
from shared.auth import Caller, KeyRing, require
from shared.db import SessionFactory
from shared.errors import Unavailable
from shared.signing import Signer

logger = structlog.get_logger(__name__)

Admin = Annotated[Caller, Depends(require("admin"))]
Operator = Annotated[Caller, Depends(require("ops", "admin"))]
Reader = Annotated[Caller, Depends(require("internal", "ops", "admin"))]
Gateway = Annotated[Caller, Depends(require("internal"))]


def create_router(commands: Commands, sessions: SessionFactory) -> APIRouter:
    router = APIRouter()
    for part in (
        create_rollouts_router(commands, sessions),
        create_commands_router(commands),
        create_policy_router(commands, sessions),
        create_audit_router(commands, sessions),
        create_notices_router(sessions),
        create_shadow_router(commands, sessions),
    ):
        router.include_router(part)
    return router


def create_sign_in_router(signer: Signer | None, clock: Callable[[], datetime]) -> APIRouter:
    """Make the route by which people who sign in obtain what every service takes for a minute."""
    router = APIRouter(prefix="/v1")

    @router.post("/assertions", status_code=201)
    def assert_person(request: Request) -> AssertionView:
        """Give a person, by their sign-in key, an assertion that all services take as they take a key."""
        keys: KeyRing = request.app.state.keys
        account = keys.sign_in(request.headers.get("authorization"))
        if signer is None:
            raise Unavailable("this deployment has no key to sign assertions with")
        token = issue_assertion(account.account_id, account.role, signer, clock())
        logger.info("person_asserted", account_id=account.account_id, role=account.role)
        return AssertionView(
            assertion=token,
            account_id=account.account_id,
            name=account.name,
            role=account.role,
            expires_in_seconds=LIFETIME.total_seconds(),
        )

    return router


def create_rollouts_router(commands: Commands, sessions: SessionFactory) -> APIRouter:
    """Make the routes that show rollouts, and the routing table that follows from them."""
    router = APIRouter(prefix="/v1")

    @router.get("/routing")
    def routing(caller: Reader) -> dict[str, Any]:
        with sessions() as session:
            table: dict[str, Any] = msgspec.to_builtins(commands.rollouts.load_table(session))
        return table

    @router.get("/rollouts")
    def rollouts(caller: Operator, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> RolloutList:
        with sessions() as session:
            found = [RolloutView.of(row) for row in list_rollouts(session, limit)]
        return RolloutList(rollouts=found, frozen_until=commands.rollouts.find_freeze_end(commands.clock()))

    @router.get("/rollouts/{rollout_id}")
    def rollout(rollout_id: UUID, caller: Operator) -> RolloutView:
        with sessions() as session:
            row = load_rollout(session, rollout_id)
        if row is None:
            raise RolloutNotFound(f"no rollout {rollout_id}")
        return RolloutView.of(row)

    return router


def create_commands_router(commands: Commands) -> APIRouter:
    """Make the routes by which an admin moves a rollout."""
    router = APIRouter(prefix="/v1")

    @router.post("/rollouts/{rollout_id}/approve")
    def approve(rollout_id: UUID, body: ApproveBody, caller: Admin) -> RolloutView:
        return RolloutView.of(commands.approve(rollout_id, body.approval_hash, caller))

    @router.post("/rollouts/{rollout_id}/{command}")
    def command(
        rollout_id: UUID,
        command: Literal["reject", "pause", "resume", "abort", "promote"],
        body: CommandBody,
        caller: Admin,
    ) -> RolloutView:
        return RolloutView.of(commands.command(rollout_id, command, caller, summary=body.reason))

    @router.post("/rollback")
    def rollback(body: RollbackBody, caller: Admin) -> dict[str, Any]:
        restored = commands.roll_back(caller, summary=body.reason, version=body.version, unchecked=body.unchecked)
        table: dict[str, Any] = msgspec.to_builtins(restored)
        return table

    return router


def create_policy_router(commands: Commands, sessions: SessionFactory) -> APIRouter:
    """Make the routes of the approval policy; stopping it asks for nothing but a reason."""
    router = APIRouter(prefix="/v1/approval-policy")

    @router.get("")
    def policy(caller: Operator) -> PolicyView:
        with sessions() as session:
            return PolicyView.of(*Policies(commands.approving).describe(session))

    @router.post("", status_code=201)
    def set_policy(body: PolicyBody, caller: Admin) -> PolicyView:
        wanted = ApprovalPolicy(**body.model_dump(exclude={"reason"}))
        Policies(commands.approving).set(wanted, caller, reason=body.reason)
        return policy(caller)

    @router.post("/stop")
    def stop_policy(body: CommandBody, caller: Admin) -> PolicyView:
        Policies(commands.approving).stop(caller, reason=body.reason)
        return policy(caller)

    return router


def create_notices_router(sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/notices")
    def notices(caller: Operator, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> NoticeList:
        """Return the delivery log of the webhooks, newest first."""
        with sessions() as session:
            return NoticeList(notices=[NoticeView.model_validate(row) for row in list_notices(session, limit)])

    return router


def create_shadow_router(commands: Commands, sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/shadow-comparisons")
    def record_comparison(body: ComparisonBody, caller: Gateway) -> dict[str, bool]:
        """Save what a gateway compared; `wanted`: whether more of that group of users would count.

        Safe to repeat under one `comparison_id`.
        """
        shadowing, now = Shadowing(sessions, commands.rollouts), commands.clock()
        if body.user_group is None:
            return {"wanted": shadowing.hear(body.rollout_id, now)}
        champion, candidate = (MirroredAnswer(**side.model_dump()) for side in (body.champion, body.candidate))
        comparison = Comparison(champion, candidate, body.user_group, body.preference)
        return {"wanted": shadowing.record(body.comparison_id, body.rollout_id, comparison, now)}

    return router


def create_audit_router(commands: Commands, sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/audit")
    def audit(
        caller: Operator,
        before: Annotated[int | None, Query(ge=1, description="`earlier` of the page after this one")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    ) -> AuditLog:
        """Return the newest entries, or those before a number; `verified` speaks of the links of this page."""
        with sessions() as session:
            entries, preceding = load_audit_page(session, before=before, limit=limit)
        found = verify_chain(entries, key=commands.audit_key, after=preceding)
        return AuditLog(
            entries=[AuditLine.model_validate(entry) for entry in entries],
            verified=found.broken_at is None,
            broken_at=found.broken_at,
            earlier=entries[0].sequence if preceding else None,
        )

    return router
