"""The deployer's background work, each in a thread of its own."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.deployer.handlers.change import Rollouts, derive_status
from services.deployer.handlers.maintenance import Maintenance
from services.deployer.handlers.notifying import Delivery
from services.deployer.handlers.reconciler import Reconciler
from services.deployer.handlers.watching import find_watched
from services.deployer.metrics import (
    CANARY_PERCENT,
    CLICK_TO_CHAMPION,
    DEADLINE,
    E_VALUE,
    GUARDRAIL,
    ROLLBACK_NEEDED,
    ROLLOUTS,
    SHADOW_GUARDRAIL,
    SHADOW_PROMPTS,
    SHADOW_SILENT,
    STUCK,
    VOTES,
)
from services.deployer.repository.lineage import measure_click_ages
from services.deployer.repository.rollouts import list_open_rollouts, load_newest_promotion
from shared.db import SessionFactory
from shared.process import Worker, every
from shared.rollouts import OPEN_STATES
from shared.tables.deployer import Rollout

MAINTENANCE_SECONDS = 5.0
ACTS_SECONDS = 2.0
CLEANING_SECONDS = 3_600.0
NOTICES_SECONDS = 1.0
QUANTILES = (0.5, 0.9, 1.0)


def list_workers(reconciler: Reconciler, maintenance: Maintenance, delivery: Delivery) -> list[Worker]:
    settings = reconciler.rollouts.settings
    return [
        every(settings.tick_seconds, "reconciler", lambda: STUCK.set(reconciler.reconcile())),
        every(MAINTENANCE_SECONDS, "aliases", maintenance.project_aliases),
        every(MAINTENANCE_SECONDS, "servers", maintenance.maintain_servers),
        every(MAINTENANCE_SECONDS, "holdback", maintenance.measure_holdback),
        every(MAINTENANCE_SECONDS, "measuring", lambda: measure(reconciler.sessions, reconciler.rollouts)),
        every(MAINTENANCE_SECONDS, "measuring_policy", reconciler.policies.measure),
        every(MAINTENANCE_SECONDS, "timing_clicks", ClickTimes(reconciler.sessions).measure),
        every(settings.announce_again_seconds, "announcing_again", maintenance.announce_again),
        every(ACTS_SECONDS, "acts", maintenance.seal_acts),
        every(MAINTENANCE_SECONDS, "anchoring", maintenance.anchor_audit),
        every(MAINTENANCE_SECONDS, "routing", maintenance.renew_routing),
        every(MAINTENANCE_SECONDS, "erasure", maintenance.erase_users),
        every(CLEANING_SECONDS, "cleaning", maintenance.delete_waiting),
        every(NOTICES_SECONDS, "notices", delivery.deliver),
        every(CLEANING_SECONDS, "old_notices", delivery.delete_old),
    ]


@dataclass
class ClickTimes:
    """How long clicks took to become the champion that learned from them; looked up once for each promotion."""

    sessions: SessionFactory
    timed: UUID | None = None

    def measure(self) -> None:
        with self.sessions() as session:
            promoted = load_newest_promotion(session)
            if promoted is None or promoted.closed_at is None or promoted.rollout_id == self.timed:
                return
            seconds = measure_click_ages(session, promoted.request_id, promoted.closed_at, QUANTILES)
        for quantile, value in zip(QUANTILES, seconds, strict=False):
            CLICK_TO_CHAMPION.labels(f"{quantile:g}").set(value)
        self.timed = promoted.rollout_id


def measure(sessions: SessionFactory, rollouts: Rollouts) -> None:
    """Show the open rollouts, and the evidence of the one that has the canary."""
    with sessions() as session:
        table = rollouts.find_table(session)
        waiting = list_open_rollouts(session)
        watched = find_watched(session, rollouts)
    ROLLBACK_NEEDED.set(watched is not None and "rollback_obstacle" in watched.evidence)
    for state in OPEN_STATES:
        ROLLOUTS.labels(state).set(sum(rollout.state == state for rollout in waiting))
    CANARY_PERCENT.set(table.canary_percent if table else 0)
    for gauge in (E_VALUE, VOTES, GUARDRAIL, SHADOW_GUARDRAIL):
        gauge.clear()
    DEADLINE.set(math.nan)
    shadow = next((rollout.evidence.get("shadow") for rollout in waiting if derive_status(rollout).in_shadow), None)
    _measure_shadow(shadow)
    for rollout in waiting:
        if derive_status(rollout).serves_canary and "guardrails" in rollout.evidence:
            _measure_evidence(rollout)


def _measure_shadow(shadow: dict[str, Any] | None) -> None:
    if shadow is None:
        SHADOW_PROMPTS.set(0)
        SHADOW_SILENT.set(0)
        return
    SHADOW_PROMPTS.set(shadow["prompts"])
    SHADOW_SILENT.set((datetime.now(UTC) - datetime.fromisoformat(shadow["last_at"])).total_seconds())
    for reading in shadow["guardrails"]:
        SHADOW_GUARDRAIL.labels(reading["name"]).set(reading["e_value"] / reading["acts_at"])


def _measure_evidence(rollout: Rollout) -> None:
    evidence = rollout.evidence
    E_VALUE.labels("roll_back").set(evidence["e_rollback"])
    E_VALUE.labels("advance").set(evidence["e_advance"])
    for reading in evidence["guardrails"]:
        GUARDRAIL.labels(reading["name"]).set(reading["e_value"] / reading["acts_at"])
    DEADLINE.set((datetime.fromisoformat(evidence["deadline_at"]) - datetime.now(UTC)).total_seconds())
    for arm in ("champion", "canary"):
        VOTES.labels(arm, "up").set(evidence[arm]["ups"])
        VOTES.labels(arm, "down").set(evidence[arm]["votes"] - evidence[arm]["ups"])
