"""The approval policy: set and stopped by admins, and held against each candidate that waits."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.approval_policy import (
    WEEK_SECONDS,
    ApprovalPolicy,
    PolicyFacts,
    encode_signed,
    find_objections,
)
from services.deployer.handlers.approving import Approver, Approving
from services.deployer.handlers.change import OWN_ACTOR
from services.deployer.handlers.notifying import add_notice
from services.deployer.metrics import POLICY
from services.deployer.ports import ListAlarms
from services.deployer.repository.approvals import (
    count_approved_since,
    has_rolled_back_since,
    is_admin,
    is_loop_paused,
    list_approvals,
    load_policy,
    save_policy,
)
from services.deployer.repository.rollouts import load_latest_promotion, load_rollout, lock_rollouts
from services.deployer.repository.routing import load_epoch
from shared.auth import Caller
from shared.errors import Conflict, Forbidden, HeliotropeError, Unavailable
from shared.events import EvaluationCompleted
from shared.signing import APPROVAL_POLICY, Signature, SignatureInvalid, Verifier, load_signer
from shared.tables.deployer import ApprovalPolicyRow, Rollout

logger = structlog.get_logger(__name__)


class PolicySilent(Conflict):
    title = "The approval policy does not approve this"


def list_no_alarms() -> list[str]:
    """Name nothing: there is no monitoring to ask."""
    return []


@dataclass(frozen=True)
class Policies:
    """Keeps the policy, and approves by it."""

    approving: Approving
    list_alarms: ListAlarms = list_no_alarms

    @property
    def _settings(self) -> Any:
        return self.approving.rollouts.settings

    def set(self, policy: ApprovalPolicy, admin: Caller, *, reason: str) -> ApprovalPolicyRow:
        """Put a policy in force, signed for the admin.

        Raises:
            Unavailable: this deployment has no key to sign for people with.
            Forbidden: under four eyes a person has to sign it.
        """
        signer = load_signer(self._settings.assertion_key)
        if signer is None:
            raise Unavailable("a policy must be signed, and HELIOTROPE_DEPLOYER_ASSERTION_KEY is not set")
        if self._settings.approvals > 1 and not admin.is_person:
            raise Forbidden("two people must approve: sign in to set a policy, since nobody knows whose a key is")

        def sign(payload: bytes) -> dict[str, Any]:
            return asdict(signer.sign(APPROVAL_POLICY, payload))

        return self._add(msgspec.to_builtins(policy), admin, reason, "set_approval_policy", sign)

    def stop(self, admin: Caller, *, reason: str) -> ApprovalPolicyRow:
        """Put no policy in force, from this moment on: every candidate waits for a person."""
        return self._add(None, admin, reason, "stop_approval_policy", lambda _: None)

    def _add(
        self,
        policy: dict[str, Any] | None,
        admin: Caller,
        reason: str,
        action: str,
        sign: Callable[[bytes], dict[str, Any] | None],
    ) -> ApprovalPolicyRow:
        now = self.approving.clock()
        with self.approving.sessions() as session, session.begin():
            lock_rollouts(session)
            last = load_policy(session)
            version, epoch = (last.version if last else 0) + 1, load_epoch(session)
            detail = {"policy": policy, "summary": reason, "key_id": admin.key_id}
            subject, rollouts = f"approval policy {version}", self.approving.rollouts
            row = ApprovalPolicyRow(
                version=version,
                policy=policy,
                epoch=epoch,
                set_by=admin.name,
                set_by_id=admin.key_id,
                at=now,
                reason=reason,
                audited_as=rollouts.audit(session, now, admin.name, action, subject, detail),
            )
            row.signature = sign(_encode(row))
            save_policy(session, row)
            return row

    def describe(self, session: Session) -> tuple[ApprovalPolicyRow | None, str | None]:
        """Return the newest policy, and why it is not in force; None if it is."""
        row = load_policy(session)
        return row, self._find_flaw(session, row)

    def _find_flaw(self, session: Session, row: ApprovalPolicyRow | None) -> str | None:
        if row is None or row.policy is None:
            return f"stopped by {row.set_by}" if row else "none was ever set"
        if row.epoch != load_epoch(session):
            return "a backup was restored since it was set"
        if not is_admin(session, row.set_by_id):
            return f"{row.set_by}, who signed it, is no admin any more"
        if has_rolled_back_since(session, row.audited_as):
            return "there was a rollback since it was set"
        return None if self._is_signed(row) else "its signature is not that of today's key"

    def _is_signed(self, row: ApprovalPolicyRow) -> bool:
        signer = load_signer(self._settings.assertion_key)
        if signer is None or row.signature is None:
            return False
        try:
            Verifier([signer.public_key]).verify(APPROVAL_POLICY, _encode(row), Signature(**row.signature))
        except SignatureInvalid:
            return False
        return True

    def measure(self) -> None:
        """Show which policy is in force."""
        with self.approving.sessions() as session:
            row, flaw = self.describe(session)
        POLICY.set(0 if row is None or flaw else row.version)

    def consider(self, rollout_id: UUID) -> bool:
        """Announce that the policy will approve a waiting rollout; approve it once the time for a veto is over.

        Returns whether it takes care of the rollout; else a person has to be asked.
        """
        with self.approving.sessions() as session:
            row, flaw = self.describe(session)
        if row is None or flaw is not None:
            return False
        alarms = self.list_alarms()
        with self.approving.sessions() as session, session.begin():
            lock_rollouts(session)
            rollout = load_rollout(session, rollout_id, for_update=True)
            if rollout is None or rollout.state != "awaiting_approval":
                return True
            if row.set_by_id in {each.approver_id for each in list_approvals(session, rollout_id)}:
                return True
            approves_at = self._look(session, rollout, row, alarms)
        if approves_at is not None and self.approving.clock() >= approves_at:
            self._approve(rollout, row)
        return approves_at is not None

    def _look(self, session: Session, rollout: Rollout, row: ApprovalPolicyRow, alarms: list[str]) -> datetime | None:
        """Write down where the policy stands with a rollout; return when it approves it."""
        now, policy = self.approving.clock(), msgspec.convert(row.policy, ApprovalPolicy)
        noted = rollout.evidence.get("policy") or {}
        objections = find_objections(policy, self._gather(session, rollout, now, alarms))
        approves_at = noted.get("approves_at") if noted.get("version") == row.version else None
        if objections:
            approves_at = None
        elif approves_at is None:
            approves_at = self._announce(session, rollout, row, now + timedelta(seconds=policy.veto_seconds))
        told = {"version": row.version, "objections": objections, "approves_at": approves_at}
        if told != noted:
            rollout.evidence = rollout.evidence | {"policy": told}
        return None if approves_at is None else datetime.fromisoformat(approves_at)

    def _gather(self, session: Session, rollout: Rollout, now: datetime, alarms: list[str]) -> PolicyFacts:
        promotion = load_latest_promotion(session, rollout.champion_version)
        confirmed = promotion is None or "confirmed" in promotion.evidence
        paused = ["the loop is paused"] if is_loop_paused(session) else []
        return PolicyFacts(
            gates=msgspec.convert(rollout.evaluation, EvaluationCompleted).gates,
            approved_this_week=count_approved_since(session, now - timedelta(seconds=WEEK_SECONDS)),
            unconfirmed_version=None if confirmed else rollout.champion_version,
            alarms=[*paused, *alarms],
        )

    def _announce(self, session: Session, rollout: Rollout, row: ApprovalPolicyRow, at: datetime) -> str:
        when, subject = at.isoformat(), str(rollout.rollout_id)
        detail = {
            "policy": row.version,
            "approves_at": when,
            "summary": f"approval policy {row.version} will approve it",
        }
        rollouts, now = self.approving.rollouts, self.approving.clock()
        rollouts.audit(session, now, OWN_ACTOR, "announce_policy_approval", subject, detail)
        part, shown = f"{row.version}:{when}", f"{at:%Y-%m-%d %H:%M} UTC"
        add_notice(session, rollouts.settings, "policy_approves", rollout, now, part=part, at=shown)
        return when

    def _approve(self, rollout: Rollout, row: ApprovalPolicyRow) -> None:
        """Approve as the admin who signed the policy, who may then not be the second one under four eyes.

        To verify the bytes takes its time: whatever spoke for the approval before is asked again when it is given.
        """
        approver = Approver(row.set_by_id, f"approval policy {row.version} ({row.set_by})", True, row.set_by)
        try:
            self.approving.verify(rollout.rollout_id)
            confirm = partial(self._confirm, row, self.list_alarms())
            self.approving.consent(rollout.rollout_id, rollout.approval_hash, approver, confirm)
        except HeliotropeError as error:
            logger.warning("policy_did_not_approve", rollout_id=str(rollout.rollout_id), reason=error.detail)

    def _confirm(self, row: ApprovalPolicyRow, alarms: list[str], session: Session, rollout: Rollout) -> None:
        """Object unless the same policy is in force and approves the rollout now.

        Raises:
            PolicySilent
        """
        newest, flaw = self.describe(session)
        if newest is None or newest.version != row.version or flaw is not None:
            raise PolicySilent(flaw or "another policy is in force")
        approves_at = self._look(session, rollout, row, alarms) if rollout.state == "awaiting_approval" else None
        if approves_at is None or self.approving.clock() < approves_at:
            raise PolicySilent("what speaks for it has changed while its bytes were verified")


def _encode(row: ApprovalPolicyRow) -> bytes:
    return encode_signed(
        version=row.version,
        policy=row.policy,
        epoch=row.epoch,
        set_by_id=row.set_by_id,
        at=row.at,
        audited_as=row.audited_as,
    )
