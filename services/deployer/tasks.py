"""The deployer's background work, each in a thread of its own."""

from dataclasses import dataclass
from uuid import UUID

from services.deployer import repository
from services.deployer.handlers.change import Rollouts, derive_position
from services.deployer.handlers.ticks import Ticker
from services.deployer.handlers.upkeep import Upkeep
from services.deployer.metrics import CANARY_PERCENT, CLICK_TO_CHAMPION, E_VALUE, ROLLOUTS, VOTES
from shared.db import SessionFactory
from shared.process import Worker, every
from shared.rollouts import OPEN_STATES
from shared.tables.deployer import Rollout

UPKEEP_SECONDS = 5.0
CLEANING_SECONDS = 3_600.0
QUANTILES = (0.5, 0.9, 1.0)


def list_workers(ticker: Ticker, upkeep: Upkeep) -> list[Worker]:
    settings = ticker.rollouts.settings
    return [
        every(settings.tick_seconds, "ticker", ticker.tick),
        every(UPKEEP_SECONDS, "aliases", upkeep.project_aliases),
        every(UPKEEP_SECONDS, "holdback", upkeep.measure_holdback),
        every(UPKEEP_SECONDS, "measuring", lambda: measure(ticker.sessions, ticker.rollouts)),
        every(UPKEEP_SECONDS, "timing_clicks", ClickTimes(ticker.sessions).measure),
        every(settings.announce_again_seconds, "announcing_again", upkeep.announce_again),
        every(CLEANING_SECONDS, "cleaning", upkeep.delete_waiting),
    ]


@dataclass
class ClickTimes:
    """How long clicks took to become the champion that learned from them; looked up once for each promotion."""

    sessions: SessionFactory
    timed: UUID | None = None

    def measure(self) -> None:
        with self.sessions() as session:
            promoted = repository.load_newest_promotion(session)
            if promoted is None or promoted.closed_at is None or promoted.rollout_id == self.timed:
                return
            seconds = repository.measure_click_ages(session, promoted.request_id, promoted.closed_at, QUANTILES)
        for quantile, value in zip(QUANTILES, seconds, strict=False):
            CLICK_TO_CHAMPION.labels(f"{quantile:g}").set(value)
        self.timed = promoted.rollout_id


def measure(sessions: SessionFactory, rollouts: Rollouts) -> None:
    """Show the open rollouts, and the evidence of the one that has the canary."""
    with sessions() as session:
        table = rollouts.find_table(session)
        waiting = repository.list_open_rollouts(session)
    for state in OPEN_STATES:
        ROLLOUTS.labels(state).set(sum(rollout.state == state for rollout in waiting))
    CANARY_PERCENT.set(table.canary_percent if table else 0)
    E_VALUE.clear()
    VOTES.clear()
    for rollout in waiting:
        if derive_position(rollout).serves_canary and rollout.evidence:
            _measure_evidence(rollout)


def _measure_evidence(rollout: Rollout) -> None:
    evidence = rollout.evidence
    E_VALUE.labels("roll_back").set(evidence["e_rollback"])
    E_VALUE.labels("advance").set(evidence["e_advance"])
    for arm in ("champion", "canary"):
        VOTES.labels(arm, "up").set(evidence[arm]["ups"])
        VOTES.labels(arm, "down").set(evidence[arm]["votes"] - evidence[arm]["ups"])
