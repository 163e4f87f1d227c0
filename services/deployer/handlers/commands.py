"""What an admin tells the deployer to do."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.rollout import Command, next_status
from services.deployer.domain.routing import first_table, restored_table
from services.deployer.handlers.approving import Approver, Approving, RolloutNotFound
from services.deployer.handlers.binding import Binding
from services.deployer.handlers.change import CandidateTainted, Change, Rollouts, derive_status
from services.deployer.handlers.earlier import find_taint
from services.deployer.handlers.limits import load_limits
from services.deployer.ports import ModelServing
from services.deployer.repository.rollouts import (
    list_open_rollouts,
    load_latest_promotion,
    load_rollout,
    lock_rollouts,
)
from services.deployer.repository.routing import load_route
from shared.auth import Caller
from shared.db import SessionFactory
from shared.errors import Conflict
from shared.events import Route, RoutingTable
from shared.ids import new_id
from shared.registry import ModelRegistry
from shared.tables.deployer import Rollout

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Commands:
    """Each command is one transaction; the audit log names the admin's key and its id."""

    sessions: SessionFactory
    rollouts: Rollouts
    binding: Binding
    clock: Callable[[], datetime]
    serving: ModelServing | None = None
    """Asked whether an earlier champion still answers; None: nobody is asked."""

    @property
    def registry(self) -> ModelRegistry:
        return self.binding.registry

    @property
    def audit_key(self) -> str:
        return self.rollouts.settings.audit_key.get_secret_value()

    def command(self, rollout_id: UUID, command: Command, admin: Caller, *, summary: str) -> Rollout:
        """Reject, pause, resume, abort or promote a rollout.

        Raises:
            RolloutNotFound, InvalidCommand
            Conflict: a promotion in a freeze window.
        """
        if command == "promote" and (until := self.rollouts.find_freeze_end(self.clock())) is not None:
            raise Conflict(f"rollouts are frozen until {until:%Y-%m-%d %H:%M} UTC: nothing moves forward before")
        with self.sessions() as session, session.begin():
            rollout = self._load(session, rollout_id)
            self.rollouts.apply(session, rollout, Change(command, admin.name, summary, self.clock(), admin.key_id))
            return rollout

    def approve(self, rollout_id: UUID, approval_hash: str, approver: Caller) -> Rollout:
        """Approve a rollout: see `Approving`."""
        return self.approving.approve(rollout_id, approval_hash, Approver.of(approver))

    @property
    def approving(self) -> Approving:
        return Approving(self.sessions, self.rollouts, self.binding, self.clock)

    def roll_back(
        self, admin: Caller, *, summary: str, version: str | None = None, unchecked: bool = False
    ) -> RoutingTable:
        """Put everyone back on an earlier champion, without `version` on the one before this.

        Aborts an approved rollout, which was judged against today's champion. `unchecked` goes back by the route that
        the version last had, whether or not its model server answers now.

        Raises:
            Conflict: there was no such champion, or its model server does not answer by it.
            CandidateTainted: it was trained on a user who was erased since.
        """
        with self.sessions() as session:
            previous = self._find_earlier(session, version)
            table = self.rollouts.load_table(session)
        if not unchecked:
            previous = self._check_served(previous, table)
        now = self.clock()
        with self.sessions() as session, session.begin():
            lock_rollouts(session)
            change = Change("roll_back", admin.name, summary, now, admin.key_id)
            for rollout in list_open_rollouts(session):
                if derive_status(rollout).is_approved:
                    self.rollouts.apply(session, rollout, replace(change, command="abort"))
            if self._find_earlier(session, version).version != previous.version:
                raise Conflict("the champion changed meanwhile: look at the routing again")
            return self._restore(session, previous, change)

    def _find_earlier(self, session: Session, version: str | None) -> Route:
        table = self.rollouts.load_table(session)
        if version is None:
            promotion = load_latest_promotion(session, table.champion.version)
            version = promotion.champion_version if promotion else None
        route = load_route(session, table.family, version) if version is not None else None
        if route is None or route.version == table.champion.version:
            wanted = f"no earlier champion {version}" if version else "no champion before this one"
            raise Conflict(f"version {table.champion.version} is champion, and there is {wanted}")
        if (erased := find_taint(session, route.version)) is not None:
            raise CandidateTainted(
                f"version {route.version}: its dataset {erased} held a user who was erased since, or an import that "
                "was taken back"
            )
        return route

    def _check_served(self, route: Route, table: RoutingTable) -> Route:
        """Return the route by which a version answers now."""
        if self.serving is None:
            return route
        try:
            return self.serving.serve(self.registry.load_version(route.version), table)
        except Exception as error:
            logger.warning("earlier_champion_not_served", version=route.version, error=repr(error))
            raise Conflict(
                f"version {route.version} is not served: {type(error).__name__}; with `unchecked` it comes back anyway"
            ) from error

    def _restore(self, session: Session, previous: Route, change: Change) -> RoutingTable:
        table = self.rollouts.load_table(session)
        restored = self.rollouts.save_table(session, restored_table(table, previous))
        detail = {"from_version": table.champion.version, "to_version": previous.version}
        promotion = load_latest_promotion(session, table.champion.version)
        if promotion is None:
            told = detail | {"summary": change.summary, "key_id": change.key_id}
            self.rollouts.audit(session, change.at, change.actor, change.command, table.family, told)
            self.rollouts.announce_adoption(session, restored, change.at)
            return restored
        stages = len(load_limits(promotion, self.rollouts.settings).stages)
        promotion.state = next_status(derive_status(promotion), "roll_back", stages=stages).state
        promotion.summary = change.summary
        self.rollouts.record(session, change, promotion, detail)
        self.rollouts.announce(session, restored, change.at, promotion)
        return restored

    def adopt(self, route: Route, *, actor: str) -> RoutingTable | None:
        """Make a registered version the first champion; None when there is a champion already."""
        now = self.clock()
        with self.sessions() as session, session.begin():
            lock_rollouts(session)
            if self.rollouts.find_table(session) is not None:
                return None
            table = self.rollouts.save_table(session, first_table(self.rollouts.family, route, str(new_id())))
            detail = {"summary": f"version {route.version} is the first champion", "model": route.model}
            self.rollouts.audit(session, now, actor, "adopt", route.version, detail)
            self.rollouts.announce_adoption(session, table, now)
            return table

    def _load(self, session: Session, rollout_id: UUID) -> Rollout:
        lock_rollouts(session)
        rollout = load_rollout(session, rollout_id, for_update=True)
        if rollout is None:
            raise RolloutNotFound(f"no rollout {rollout_id}")
        return rollout
