"""Composition root of `python -m services.curator monitor`: it checks the loop every few seconds."""

from datetime import UTC, datetime, timedelta
from functools import partial

from fastapi import FastAPI

from services.curator.cells.adapters.choice import open_embedder
from services.curator.cells.handlers import CellKeeper
from services.curator.config.settings import CuratorSettings, MonitorSettings
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import preview_dataset
from services.curator.monitor.api import create_detectors_router
from services.curator.monitor.domain.evidence import Budget
from services.curator.monitor.domain.opinion import OpinionRules
from services.curator.monitor.domain.policy import RetrainLimits
from services.curator.monitor.domain.prompt_drift import PromptRules
from services.curator.monitor.handlers.look import Monitor, MonitorRules
from services.curator.monitor.handlers.reports import export_report
from services.curator.monitor.handlers.windows import OpinionWatch, PromptWatch
from services.curator.requests.handlers import request_retrain
from shared.auth import open_key_ring
from shared.db import check_database, connect, make_session_factory
from shared.http import create_app
from shared.logging import configure_logging
from shared.process import Worker, every, run_workers, serve
from shared.settings import Settings, load_settings

SERVICE = "drift-monitor"


def main() -> None:
    """Start, and serve until told to stop."""
    settings = load_settings(Settings)
    configure_logging(SERVICE, settings.log_level)
    app = create(settings, load_settings(CuratorSettings), load_settings(MonitorSettings))
    serve(app, settings, settings.choose_port(SERVICE))


def now() -> datetime:
    return datetime.now(UTC)


def create(settings: Settings, curator: CuratorSettings, own: MonitorSettings) -> FastAPI:
    engine = connect(settings)
    check_database(engine)
    sessions = make_session_factory(engine)
    keys = open_key_ring(sessions, settings.assertion_public_keys)
    embedder = open_embedder(curator)
    caps = Caps(curator.pairs_per_user, curator.pairs_per_prompt, curator.group_weight_share)
    monitor = Monitor(
        sessions,
        settings.family,
        derive_rules(curator, own, embedder.version),
        partial(request_retrain, settings=settings, curator=curator, embedder=embedder),
        partial(preview_dataset, caps=caps, embedder=embedder),
        now,
    )
    workers = [
        every(curator.monitor_seconds, "monitor", lambda: export_report(monitor.look())),
        every(curator.sweep_seconds, "cells", CellKeeper(sessions, embedder).tend),
        Worker("keys", keys.run),
    ]
    app = create_app(
        SERVICE, checks={"database": partial(check_database, engine)}, lifespan=run_workers(workers, engine.dispose)
    )
    app.state.keys = keys
    app.include_router(create_detectors_router(sessions, Budget(own.false_alarm_days), now))
    return app


def derive_rules(curator: CuratorSettings, own: MonitorSettings, embedder: str) -> MonitorRules:
    budget = Budget(own.false_alarm_days)
    return MonitorRules(
        OpinionWatch(
            OpinionRules(
                timedelta(seconds=own.opinion_period_seconds),
                own.opinion_settling_periods,
                own.opinion_warm_up_votes,
                own.opinion_warm_up_periods,
                own.opinion_least_users,
                own.opinion_margin,
            ),
            budget,
        ),
        PromptWatch(
            PromptRules(
                timedelta(seconds=own.prompt_window_seconds),
                own.prompt_cycle_windows,
                own.prompt_sample,
                own.prompt_least_effect,
            ),
            budget,
            embedder,
        ),
        RetrainLimits(timedelta(seconds=own.cooldown_seconds), own.monthly_budget, own.minimum_pairs, own.shadow),
        curator.volume_pairs,
        timedelta(seconds=own.schedule_seconds) if own.schedule_seconds else None,
        timedelta(seconds=own.window_seconds),
    )
