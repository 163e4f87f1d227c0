"""Keeps up to date in the background: the registry's aliases, the holdback's counts, announcements, old votes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.arms import Counts
from services.deployer.domain.audit import ANCHOR_TAG, parse_anchor
from services.deployer.domain.routing import renewed_table
from services.deployer.handlers.aliases import Aliases
from services.deployer.handlers.change import Rollouts
from services.deployer.ports import ModelServing
from services.deployer.repository.acts import derive_detail, load_unsealed_acts, save_sealed
from services.deployer.repository.audit import load_audit_end
from services.deployer.repository.erasure import erase_users
from services.deployer.repository.rollouts import (
    list_unacknowledged_ends,
    load_latest_approved,
    load_latest_promotion,
    load_rollout,
    lock_rollouts,
)
from services.deployer.repository.routing import (
    is_announcing,
    load_acknowledged_generation,
    load_route,
    load_routing_row,
)
from services.deployer.repository.votes import count_stage_votes, delete_waiting
from shared.db import SessionFactory, lock_all
from shared.outbox import announce_again
from shared.registry import ModelRegistry
from shared.tables.deployer import Rollout, RoutingGeneration

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Maintenance:
    """Each of these may be done at any time, and twice."""

    sessions: SessionFactory
    rollouts: Rollouts
    registry: ModelRegistry
    clock: Callable[[], datetime]
    serving: ModelServing

    def maintain_servers(self) -> int:
        """Have the model servers keep what gateways may route to; returns how many models were loaded or unloaded.

        That is the table in force, and the champion before, which a rollback leads to.
        """
        with self.sessions() as session:
            table = self.rollouts.find_table(session)
            if table is None:
                return self.serving.maintain([])
            promotion = load_latest_promotion(session, table.champion.version)
            previous = load_route(session, table.family, promotion.champion_version) if promotion else None
        shadow = table.shadow.route if table.shadow else None
        served = (table.champion, table.canary, table.holdback, shadow, previous)
        routes = [route for route in served if route is not None]
        known = {route.version: route for route in routes}
        return self.serving.maintain([(self.registry.load_version(version), known[version]) for version in known])

    def project_aliases(self) -> None:
        """Make the registry say what our tables say."""
        Aliases(self.sessions, self.rollouts, self.registry, self.clock).project()

    def measure_holdback(self) -> None:
        """Count what users say of the new champion and of the one before, since the promotion."""
        with self.sessions() as session, session.begin():
            table = self.rollouts.find_table(session)
            if table is None or table.rollout_id is None or table.canary is not None:
                return
            lock_rollouts(session)
            rollout = load_rollout(session, table.rollout_id, for_update=True)
            if rollout is None or rollout.state != "champion":
                return
            counts = count_stage_votes(session, rollout.rollout_id, len(rollout.stages))
            since_promotion = {
                "champion": asdict(counts.get("canary", Counts())),
                "holdback": asdict(counts.get("champion", Counts())),
            }
            rollout.evidence = rollout.evidence | {"since_promotion": since_promotion}

    def announce_again(self) -> int:
        """Announce once more what the curator has not taken up: a routing table, the end of a rollout.

        Gateways need no reminder: they ask for the table themselves.
        """
        before = self.clock() - timedelta(seconds=self.rollouts.settings.announce_again_seconds)
        return announce_again(self.sessions, lambda session: self._list_unacknowledged(session, before), self._announce)

    def _list_unacknowledged(self, session: Session, before: datetime) -> list[RoutingGeneration | Rollout]:
        """Return what happened before then and the curator has not heard of; nothing while announcements still wait."""
        routing = load_routing_row(session, self.rollouts.family)
        if routing is None or is_announcing(session):
            return []
        acknowledged = load_acknowledged_generation(session, routing.family)
        unacknowledged = [routing] if routing.created_at < before and acknowledged < routing.generation else []
        return [*unacknowledged, *list_unacknowledged_ends(session, before)]

    def _announce(self, session: Session, unacknowledged: RoutingGeneration | Rollout) -> None:
        table = self.rollouts.load_table(session)
        if isinstance(unacknowledged, Rollout):
            self.rollouts.announce(
                session, table, unacknowledged.closed_at or unacknowledged.created_at, unacknowledged
            )
        elif (latest := load_latest_approved(session)) is None:
            self.rollouts.announce_adoption(session, table, unacknowledged.created_at)
        else:
            self.rollouts.announce(session, table, unacknowledged.created_at, latest)

    def anchor_audit(self) -> None:
        """Write down the end of the audit log where the database's owner cannot: in the registry and in our log.

        An anchor never goes back: a log that is shorter than it was has lost its end.
        """
        with self.sessions() as session:
            end = load_audit_end(session)
        if end.sequence == 0:
            return
        known = self.registry.load_tag(ANCHOR_TAG)
        anchor = parse_anchor(known) if known else None
        if anchor is not None and end.sequence < anchor.sequence:
            logger.error("audit_log_cut", ends_at=end.sequence, anchored_at=anchor.sequence)
        elif end != anchor:
            self.registry.set_tag(ANCHOR_TAG, str(end))
            logger.info("audit_log_anchored", anchor=str(end))

    def seal_acts(self) -> int:
        """Write what other services and the command line recorded into the audit log; returns how many acts."""
        with self.sessions() as session, session.begin():
            lock_all(session, ["deployer:acts"])
            acts = load_unsealed_acts(session)
            for source, act in acts:
                detail = derive_detail(source, act)
                sequence = self.rollouts.audit(session, act.at, act.actor, act.action, act.subject, detail)
                save_sealed(session, act.act_id, sequence)
        return len(acts)

    def renew_routing(self) -> None:
        """Say the table anew, under the next generation, when its epoch has ended or the key that signs has changed."""
        with self.sessions() as session, session.begin():
            lock_rollouts(session)
            table = self.rollouts.find_table(session)
            if table is None or not self.rollouts.needs_renewal(session, table):
                return
            renewed = self.rollouts.save_table(session, renewed_table(table))
            now = self.clock()
            summary = f"routing said anew: epoch {renewed.epoch}, generation {renewed.generation}"
            self.rollouts.audit(session, now, "deployer", "renew_routing", table.family, {"summary": summary})
            latest = load_latest_approved(session)
            if latest is None:
                self.rollouts.announce_adoption(session, renewed, now)
            else:
                self.rollouts.announce(session, renewed, now, latest)
        logger.info("routing_renewed", epoch=renewed.epoch, generation=renewed.generation)

    def erase_users(self) -> None:
        """Forget whom the erasure ledger names: the curator's certificate waits for it."""
        with self.sessions() as session, session.begin():
            if changed := erase_users(session):
                logger.info("erased_users_forgotten", rows=changed)

    def delete_waiting(self) -> None:
        before = self.clock() - timedelta(seconds=self.rollouts.settings.votes_wait_seconds)
        with self.sessions() as session, session.begin():
            delete_waiting(session, before)
