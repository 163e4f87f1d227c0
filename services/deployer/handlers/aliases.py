"""Makes the registry say what our tables say: its aliases, and the versions that users may meet."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.deployer.handlers.change import OWN_ACTOR, Rollouts, derive_status
from services.deployer.metrics import ALIAS_REPAIRS
from services.deployer.repository.registrations import (
    load_named,
    load_registration,
    save_named,
    save_registration,
)
from services.deployer.repository.rollouts import list_open_rollouts, load_latest_promotion
from shared.db import SessionFactory
from shared.errors import NotFound
from shared.registry import ModelRegistry

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Aliases:
    """What somebody else changed is put right again, and the audit log says so."""

    sessions: SessionFactory
    rollouts: Rollouts
    registry: ModelRegistry
    clock: Callable[[], datetime]

    def project(self) -> None:
        """Make aliases and registrations what our tables say; `challenger` is who has the canary, else who waits."""
        with self.sessions() as session:
            table = self.rollouts.find_table(session)
            if table is None:
                return
            waiting = list(list_open_rollouts(session))
            promotion = load_latest_promotion(session, table.champion.version)
        started = [rollout for rollout in waiting if derive_status(rollout).is_approved]
        challenger = next((rollout.candidate_version for rollout in started + waiting), None)
        served = {table.champion.version, *([table.holdback.version] if table.holdback else [])}
        for version in served | {each for each in (challenger, promotion and promotion.champion_version) if each}:
            self._keep(version)
        for alias, wanted in {"champion": table.champion.version, "challenger": challenger}.items():
            self._name(alias, wanted)

    def _keep(self, version: str) -> None:
        """Copy a version's registration; register it again if somebody deleted it."""
        with self.sessions() as session:
            known = load_registration(session, version)
        try:
            found = self.registry.load_version(version)
        except NotFound:
            if known is None:
                logger.error("registration_lost", version=version)
                return
            self.registry.restore(known)
            self._record("restore_version", version, f"version {version} was deleted in the registry; registered again")
            return
        if known is None or known.tags != found.tags:
            with self.sessions() as session, session.begin():
                save_registration(session, version, found.tags)

    def _name(self, alias: str, wanted: str | None) -> None:
        with self.sessions() as session:
            named = load_named(session, alias)
        found = self.registry.load_alias(alias)
        if found != wanted:
            if wanted is None:
                self.registry.clear_alias(alias)
            else:
                self.registry.set_alias(alias, wanted)
            if named == wanted:  # we had made it so, and somebody else has changed it since
                says = f"the registry's {alias} was {found or 'nothing'}; it is {wanted or 'nothing'} again"
                self._record("repair_alias", alias, says)
        if named != wanted:
            with self.sessions() as session, session.begin():
                save_named(session, alias, wanted)

    def _record(self, action: str, subject: str, summary: str) -> None:
        ALIAS_REPAIRS.inc()
        logger.warning("registry_repaired", action=action, subject=subject)
        with self.sessions() as session, session.begin():
            self.rollouts.audit(session, self.clock(), OWN_ACTOR, action, subject, {"summary": summary})
