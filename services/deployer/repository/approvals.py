"""Who approved what, and the approval policies."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from shared.tables.access import Account, ApiKey
from shared.tables.curator import LoopSwitch
from shared.tables.deployer import Approval, ApprovalPolicyRow, AuditEntry, Rollout


def list_approvals(session: Session, rollout_id: UUID) -> Sequence[Approval]:
    """Return the approvals of people who are admins still, oldest first; a key's while it is not revoked."""
    account = select(Account.account_id).where(Account.disabled_at.is_(None), Account.role == "admin")
    key = select(ApiKey.key_id).where(ApiKey.revoked_at.is_(None), ApiKey.role == "admin")
    standing = or_(Approval.approver_id.in_(account), Approval.approver_id.in_(key))
    found = select(Approval).where(Approval.rollout_id == rollout_id, standing).order_by(Approval.at)
    return session.scalars(found).all()


def save_approval(session: Session, approval: Approval) -> None:
    session.add(approval)
    session.flush()


def load_policy(session: Session) -> ApprovalPolicyRow | None:
    """Return the newest policy, which may say that none is in force."""
    newest = select(ApprovalPolicyRow).order_by(ApprovalPolicyRow.version.desc()).limit(1)
    return session.scalars(newest).first()


def save_policy(session: Session, row: ApprovalPolicyRow) -> None:
    session.add(row)
    session.flush()


def is_admin(session: Session, approver_id: str) -> bool:
    """Tell whether an account or key may act as admin now."""
    account = select(Account).where(Account.account_id == approver_id, Account.disabled_at.is_(None))
    key = select(ApiKey).where(ApiKey.key_id == approver_id, ApiKey.revoked_at.is_(None))
    of_account, of_key = account.where(Account.role == "admin"), key.where(ApiKey.role == "admin")
    return bool(session.scalar(select(or_(of_account.exists(), of_key.exists()))))


def count_approved_since(session: Session, since: datetime) -> int:
    """Count the rollouts that were approved since then, by whom ever."""
    return session.scalar(select(func.count()).select_from(Rollout).where(Rollout.approved_at >= since)) or 0


def has_rolled_back_since(session: Session, sequence: int) -> bool:
    """Tell whether anything was rolled back, by itself or by an admin, after that entry of the audit log."""
    found = select(AuditEntry.sequence).where(AuditEntry.sequence > sequence, AuditEntry.action == "roll_back")
    return bool(session.scalar(select(found.exists())))


def is_loop_paused(session: Session) -> bool:
    return bool(session.scalar(select(LoopSwitch.paused)))
