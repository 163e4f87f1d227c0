"""An approval: bound to what was seen, by one admin, by two, or by a policy in place of the admin who signed it."""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.deployer.domain.rollout import next_status
from services.deployer.handlers.binding import ApprovalVoid, Binding
from services.deployer.handlers.change import Change, Rollouts, derive_status
from services.deployer.handlers.limits import load_limits
from services.deployer.handlers.notifying import add_notice
from services.deployer.handlers.weighing import forecast_rollout
from services.deployer.repository.approvals import list_approvals, save_approval
from services.deployer.repository.lineage import has_judged
from services.deployer.repository.rollouts import list_open_rollouts, load_rollout, lock_rollouts
from shared.auth import Caller
from shared.db import SessionFactory
from shared.errors import Conflict, Forbidden, NotFound
from shared.tables.deployer import Approval, Rollout


class RolloutNotFound(NotFound):
    title = "Rollout not found"


class ApproverJudged(Forbidden):
    title = "Not allowed for who judged the candidate"


class AnotherApproverNeeded(Forbidden):
    title = "Needs another approver"


Confirm = Callable[[Session, Rollout], None]
"""Raises a HeliotropeError where a rollout must not be approved after all."""


def need_no_more(_: Session, __: Rollout) -> None:
    """Object to nothing."""


@dataclass(frozen=True)
class Approver:
    """Who approves; `name` is what the audit log says."""

    approver_id: str
    name: str
    is_person: bool
    judge_name: str
    """What votes of theirs would be filed under."""

    @classmethod
    def of(cls, caller: Caller) -> "Approver":
        return cls(caller.key_id, caller.name, caller.is_person, caller.name)


@dataclass(frozen=True)
class Approving:
    """Lets rollouts begin."""

    sessions: SessionFactory
    rollouts: Rollouts
    binding: Binding
    clock: Callable[[], datetime]

    def approve(self, rollout_id: UUID, approval_hash: str, approver: Approver) -> Rollout:
        """Approve a rollout, which begins if no further approval is needed.

        - the hash that the admin sends is the rollout's
        - and still that of weights, dataset, recipe and files in the registry, and of the report
        - its files are those of its manifest, which a trusted key signed
        - the candidate was judged against today's champion
        - no other rollout has a canary
        - the admin cast no vote in the evaluation, under this key or another one of the same name
        - under four eyes, the admin is a person and has not approved it yet

        Raises:
            RolloutNotFound, ApprovalVoid, ApproverJudged, AnotherApproverNeeded, InvalidCommand, Conflict, Unavailable
        """
        self.verify(rollout_id)
        return self.consent(rollout_id, approval_hash, approver)

    def verify(self, rollout_id: UUID) -> None:
        """Verify every byte of a candidate, which may take minutes: no lock is held meanwhile.

        Raises:
            RolloutNotFound, ApprovalVoid, Unavailable
        """
        with self.sessions() as session:
            self.binding.check(session, self._load(session, rollout_id, for_update=False))

    def consent(
        self, rollout_id: UUID, approval_hash: str, approver: Approver, confirm: Confirm = need_no_more
    ) -> Rollout:
        """Approve a rollout whose bytes were verified, as `approve` says, if `confirm` does not object by raising.

        `confirm` is asked under the lock that every change takes: what it sees holds until the approval stands.
        """
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            confirm(session, rollout)
            if not hmac.compare_digest(approval_hash.encode(), rollout.approval_hash.encode()):
                raise ApprovalVoid("approval_hash is not this rollout's: look at the rollout and its report again")
            self._check(session, rollout, approver)
            self._consent(session, rollout, approver)
            return rollout

    def _check(self, session: Session, rollout: Rollout, approver: Approver) -> None:
        champion = self.rollouts.load_table(session).champion.version
        if rollout.champion_version != champion:
            raise Conflict(f"it was judged against version {rollout.champion_version}, but {champion} is champion now")
        for other in list_open_rollouts(session):
            if other.rollout_id != rollout.rollout_id and derive_status(other).is_approved:
                raise Conflict(f"rollout {other.rollout_id} has the canary; abort it or wait for its end")
        if has_judged(session, rollout.request_id, approver.approver_id, approver.judge_name):
            raise ApproverJudged("you voted in this candidate's evaluation: somebody else has to approve it")

    def _consent(self, session: Session, rollout: Rollout, approver: Approver) -> None:
        now, limits = self.clock(), load_limits(rollout, self.rollouts.settings)
        next_status(derive_status(rollout), "approve", stages=len(limits.stages))  # or it cannot be approved at all
        given = list_approvals(session, rollout.rollout_id)
        if limits.approvals > 1:
            _check_other(approver, given)
        approval = Approval(
            rollout_id=rollout.rollout_id,
            approver_id=approver.approver_id,
            name=approver.name,
            approval_hash=rollout.approval_hash,
            at=now,
        )
        save_approval(session, approval)
        standing = [*given, approval]
        told = [{"name": each.name, "at": each.at.isoformat()} for each in standing]
        if len(standing) >= limits.approvals:
            rollout.evidence = {"at_approval": forecast_rollout(session, limits, now), "approvals": told}
            self._begin(session, rollout, " and ".join(each.name for each in standing), approver, now)
        else:
            rollout.evidence = rollout.evidence | {"approvals": told}
            self._wait_for_another(session, rollout, approver, now)

    def _begin(self, session: Session, rollout: Rollout, names: str, approver: Approver, now: datetime) -> None:
        rollout.approved_by, rollout.approved_at = names, now
        frozen_until = self.rollouts.find_freeze_end(now)
        then = f"frozen until {frozen_until:%Y-%m-%d %H:%M} UTC" if frozen_until else "its model server is loading it"
        change = Change("approve", approver.name, f"approved by {names}; {then}", now, approver.approver_id)
        self.rollouts.apply(session, rollout, change)

    def _wait_for_another(self, session: Session, rollout: Rollout, approver: Approver, now: datetime) -> None:
        rollout.summary = f"approved by {approver.name}; a second admin has to approve it too"
        change = Change("approve", approver.name, rollout.summary, now, approver.approver_id)
        self.rollouts.record(session, change, rollout, detail={"from": rollout.state, "to": rollout.state})
        add_notice(session, self.rollouts.settings, "second_approval_needed", rollout, now)

    def _load(self, session: Session, rollout_id: UUID, *, for_update: bool = True) -> Rollout:
        if for_update:
            lock_rollouts(session)
        rollout = load_rollout(session, rollout_id, for_update=for_update)
        if rollout is None:
            raise RolloutNotFound(f"no rollout {rollout_id}")
        return rollout


def _check_other(approver: Approver, given: Sequence[Approval]) -> None:
    if not approver.is_person:
        raise AnotherApproverNeeded("two people must approve: sign in, since nobody knows whose a key is")
    if approver.approver_id in {each.approver_id for each in given}:
        raise AnotherApproverNeeded("you approved it already: a second admin has to approve it too")
