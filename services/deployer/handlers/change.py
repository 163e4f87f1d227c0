"""One change of a rollout: its row, the routing table, the audit log and the announcement, in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from services.deployer.domain.notices import OUTCOMES
from services.deployer.domain.rollout import Command, RolloutStatus, next_status
from services.deployer.domain.routing import (
    next_stage_table,
    promoted_table,
    restored_table,
    shadowed_table,
    unshadowed_table,
    withdrawn_table,
)
from services.deployer.handlers.limits import load_limits
from services.deployer.handlers.notifying import add_notice
from services.deployer.metrics import CHANGES
from services.deployer.repository.audit import append_audit
from services.deployer.repository.lineage import find_erased_dataset
from services.deployer.repository.routing import load_epoch, load_routing, save_routing
from services.deployer.settings import DeployerSettings
from shared.errors import Conflict
from shared.events import RolloutAdvanced, Route, RoutingTable, Shadow
from shared.freeze_windows import find_freeze_end, parse_windows
from shared.outbox import append_event
from shared.routing import check_table, sign_table
from shared.signing import SignatureInvalid, Signer, Verifier, load_signer
from shared.tables.deployer import Outbox, Rollout

OWN_ACTOR = "deployer"
"""Who acted, in the audit log, where no person did."""
FORWARD: frozenset[Command] = frozenset({"approve", "shadow", "start", "advance", "promote", "resume"})


class CandidateTainted(Conflict):
    title = "Candidate trained on an erased user"


@dataclass(frozen=True)
class Change:
    """Who does what, why, and when."""

    command: Command
    actor: str
    summary: str
    at: datetime
    key_id: str | None = None
    """Of an admin, whose name other keys may have too."""


@dataclass(frozen=True)
class Rollouts:
    """Applies changes; holds what they need besides the session."""

    settings: DeployerSettings
    family: str
    topic_prefix: str

    def find_table(self, session: Session) -> RoutingTable | None:
        """Return the table in force, once there is a champion."""
        return load_routing(session, self.family)

    def load_table(self, session: Session) -> RoutingTable:
        """Return the table in force.

        Raises:
            Conflict: there is no champion yet.
        """
        table = self.find_table(session)
        if table is None:
            raise Conflict("there is no champion yet: adopt one first")
        return table

    def save_table(self, session: Session, table: RoutingTable) -> RoutingTable:
        """Save the next generation, of the epoch that is in force, signed; returns it so."""
        table = msgspec.structs.replace(table, epoch=load_epoch(session), signature=None)
        signed = sign_table(table, self.signer) if self.signer else table
        save_routing(session, signed)
        return signed

    def needs_renewal(self, session: Session, table: RoutingTable) -> bool:
        """Tell whether a table is of an epoch that has ended, or not signed with today's key."""
        if table.epoch < load_epoch(session):
            return True
        try:
            check_table(table, Verifier([self.signer.public_key] if self.signer else []))
        except SignatureInvalid:
            return True
        return False

    def find_freeze_end(self, at: datetime) -> datetime | None:
        """Return until when no rollout moves forward; None if they may."""
        return find_freeze_end(parse_windows(self.settings.freeze_windows), at)

    @property
    def signer(self) -> Signer | None:
        return load_signer(self.settings.routing_key)

    def apply(self, session: Session, rollout: Rollout, change: Change, *, route: Route | None = None) -> None:
        """Move the rollout; `route` is that of the version that users come to, needed to start a canary.

        Raises:
            InvalidCommand: not possible in its state.
            CandidateTainted: it would bring a candidate nearer to users that was trained on someone since erased.
        """
        before = derive_status(rollout)
        limits = load_limits(rollout, self.settings)
        after = next_status(before, change.command, stages=len(limits.stages))
        if change.command in FORWARD and (erased := find_erased_dataset(session, rollout.request_id)) is not None:
            raise CandidateTainted(
                f"its dataset {erased} held a user who was erased since, or an import that was taken back: train on "
                "its successor"
            )
        table = self.load_table(session)
        moved = self._derive_table(table, before, after, rollout, route)
        self._save(rollout, before, after, change)
        if moved is not None:
            moved = self.save_table(session, moved)
        self.record(session, change, rollout, detail={"from": before.state, "to": after.state, "stage": after.stage})
        self.announce(session, moved or table, change.at, rollout)
        self._notify(session, rollout, change)
        CHANGES.labels(change.command).inc()

    def _notify(self, session: Session, rollout: Rollout, change: Change) -> None:
        """Tell of what a rollout did by itself; an admin knows what they did."""
        kind = "promoted" if rollout.state == "champion" else OUTCOMES.get(change.command)
        if change.actor == OWN_ACTOR and kind is not None:
            add_notice(session, self.settings, kind, rollout, change.at)

    def _derive_table(
        self, table: RoutingTable, before: RolloutStatus, after: RolloutStatus, rollout: Rollout, route: Route | None
    ) -> RoutingTable | None:
        """Return the next routing table, or None when routing stays as it is."""
        if after.state == "champion":
            return promoted_table(table)
        if before.state == "champion":
            return restored_table(table, route or _find_holdback(table))
        if after.is_closed:
            return withdrawn_table(table) if before.serves_canary else _end_shadow(table, before)
        if (after.stage, after.in_shadow) == (before.stage, before.in_shadow):
            return None
        route = route or table.canary
        if route is None:
            raise Conflict("the canary's model server is not known")
        limits = load_limits(rollout, self.settings)
        if after.stage is None:
            shadow = Shadow(route=route, percent=limits.shadow_percent, rollout_id=rollout.rollout_id)
            return shadowed_table(table, shadow)
        percent, holdback = limits.stages[after.stage], limits.holdback_percent
        return next_stage_table(table, route, rollout.rollout_id, percent=percent, holdback_percent=holdback)

    def _save(self, rollout: Rollout, before: RolloutStatus, after: RolloutStatus, change: Change) -> None:
        rollout.state, rollout.stage, rollout.paused_from = after.state, after.stage, after.paused_from
        rollout.summary = change.summary
        if change.command == "resume":  # whoever paused it has vetoed what a policy had announced
            rollout.evidence = {name: value for name, value in rollout.evidence.items() if name != "policy"}
        if after.in_shadow and not before.in_shadow:
            rollout.shadow_started_at = change.at
        if before.stage is not None and after.stage != before.stage:
            rollout.stages = [*rollout.stages[:-1], rollout.stages[-1] | _end_stage(rollout, change)]
        if after.stage is not None and after.stage != before.stage:
            rollout.stage_started_at = change.at
            percent = load_limits(rollout, self.settings).stages[after.stage]
            rollout.stages = [*rollout.stages, {"percent": percent, "started_at": change.at.isoformat()}]
        if after.is_closed:
            rollout.closed_at = change.at

    def record(self, session: Session, change: Change, rollout: Rollout, detail: dict[str, Any]) -> None:
        told = detail | {"summary": change.summary} | ({"key_id": change.key_id} if change.key_id else {})
        self.audit(session, change.at, change.actor, change.command, str(rollout.rollout_id), told)

    def audit(
        self, session: Session, at: datetime, actor: str, action: str, subject: str, detail: dict[str, Any]
    ) -> int:
        """Write down in the audit log who did what; returns the entry's number."""
        key = self.settings.audit_key.get_secret_value()
        return append_audit(session, at, actor=actor, action=action, subject=subject, detail=detail, key=key)

    def announce(self, session: Session, table: RoutingTable, at: datetime, rollout: Rollout) -> None:
        """Say where the rollout and the routing stand since `at`."""
        event = RolloutAdvanced(
            state=rollout.state,  # type: ignore[arg-type]  # the table's check allows no other
            summary=rollout.summary,
            routing=table,
            at=at,
            rollout_id=rollout.rollout_id,
            request_id=rollout.request_id,
            candidate_version=rollout.candidate_version,
            stage=rollout.stage,
        )
        append_event(session, Outbox, event, source="deployer", topic_prefix=self.topic_prefix)

    def announce_adoption(self, session: Session, table: RoutingTable, at: datetime) -> None:
        summary = f"version {table.champion.version} adopted as the first champion"
        event = RolloutAdvanced(state="adopted", summary=summary, routing=table, at=at)
        append_event(session, Outbox, event, source="deployer", topic_prefix=self.topic_prefix)


def derive_status(rollout: Rollout) -> RolloutStatus:
    in_shadow = rollout.shadow_started_at is not None and rollout.stage is None and rollout.closed_at is None
    return RolloutStatus(rollout.state, rollout.stage, rollout.paused_from, in_shadow)  # type: ignore[arg-type]


def _end_shadow(table: RoutingTable, before: RolloutStatus) -> RoutingTable | None:
    return unshadowed_table(table) if before.in_shadow else None


def _find_holdback(table: RoutingTable) -> Route:
    if table.holdback is None:
        raise Conflict("there is no holdback whose version could come back")
    return table.holdback


def _end_stage(rollout: Rollout, change: Change) -> dict[str, Any]:
    """Return what the stage's entry says once it has ended."""
    return {"ended_at": change.at.isoformat(), "ended_by": change.command, "evidence": rollout.evidence}
