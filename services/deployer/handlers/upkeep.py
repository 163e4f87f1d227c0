"""What is kept true in the background: the registry's aliases, the holdback's counts, and that others have heard."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog

from services.deployer import repository
from services.deployer.domain.evidence import Counts
from services.deployer.handlers.change import Rollouts, derive_position
from shared.db import SessionFactory
from shared.registry import ModelRegistry

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Upkeep:
    """Each of these may be done at any time, and twice."""

    sessions: SessionFactory
    rollouts: Rollouts
    registry: ModelRegistry
    clock: Callable[[], datetime]

    def project_aliases(self) -> None:
        """Make the registry's aliases say what our tables say; `challenger` is who has the canary, else who waits."""
        with self.sessions() as session:
            table = self.rollouts.find_table(session)
            waiting = list(repository.list_open_rollouts(session))
        if table is None:
            return
        started = [rollout for rollout in waiting if derive_position(rollout).is_approved]
        challenger = next((rollout.candidate_version for rollout in started + waiting), None)
        wanted = {"champion": table.champion.version, "challenger": challenger}
        for alias, version in wanted.items():
            known = self.registry.load_alias(alias)
            if version is None and known is not None:
                self.registry.clear_alias(alias)
            elif version is not None and known != version:
                self.registry.set_alias(alias, version)

    def measure_holdback(self) -> None:
        """Count what users say of the new champion and of the one before, since the promotion."""
        with self.sessions() as session, session.begin():
            table = self.rollouts.find_table(session)
            if table is None or table.rollout_id is None or table.canary is not None:
                return
            repository.lock_rollouts(session)
            rollout = repository.load_rollout(session, table.rollout_id, for_update=True)
            if rollout is None or rollout.state != "champion":
                return
            counts = repository.count_stage_votes(session, rollout.rollout_id, len(rollout.stages))
            since_promotion = {
                "champion": asdict(counts.get("canary", Counts())),
                "holdback": asdict(counts.get("champion", Counts())),
            }
            rollout.evidence = rollout.evidence | {"since_promotion": since_promotion}

    def announce_again(self) -> None:
        """Say once more what the curator has not taken up: a routing table, the end of a rollout.

        Gateways need no reminder: they ask for the table themselves. Nothing is added while the outbox still waits.
        """
        before = self.clock() - timedelta(seconds=self.rollouts.settings.announce_again_seconds)
        with self.sessions() as session, session.begin():
            table = self.rollouts.find_table(session)
            if table is None or repository.is_announcing(session):
                return
            since = repository.load_routing_since(session, table)
            if since < before and repository.load_heard_generation(session, table.family) < table.generation:
                latest = repository.load_latest_approved(session)
                if latest is None:
                    self.rollouts.announce_adoption(session, table, since)
                else:
                    self.rollouts.announce(session, table, since, latest)
                logger.warning("routing_announced_again", generation=table.generation)
            for rollout in repository.list_unheard_ends(session, before):
                self.rollouts.announce(session, table, rollout.closed_at or since, rollout)
                logger.warning("rollout_announced_again", rollout_id=str(rollout.rollout_id), state=rollout.state)

    def delete_waiting(self) -> None:
        before = self.clock() - timedelta(seconds=self.rollouts.settings.votes_wait_seconds)
        with self.sessions() as session, session.begin():
            repository.delete_waiting(session, before)
