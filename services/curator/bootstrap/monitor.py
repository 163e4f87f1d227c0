"""The process `python -m services.curator monitor`: looks at the loop every few seconds and decides when to retrain."""

from datetime import UTC, datetime, timedelta
from functools import partial

from fastapi import FastAPI

from services.curator.domain.drift import OpinionRules
from services.curator.domain.policy import Limits
from services.curator.handlers.monitor import Monitor, Rules
from services.curator.handlers.retrain import request_retrain
from services.curator.monitor_api import make_router
from services.curator.monitor_metrics import export_report
from services.curator.monitor_settings import MonitorSettings
from services.curator.settings import CuratorSettings
from shared.auth import open_key_ring
from shared.db import check_database, connect, make_session_factory
from shared.http import create_app
from shared.logging import configure_logging
from shared.process import Worker, every, run_workers, serve
from shared.settings import Settings, load_settings

SERVICE = "drift-monitor"
PORT = 9


def main() -> None:
    """Start, and serve until told to stop."""
    settings = load_settings(Settings)
    configure_logging(SERVICE, settings.log_level)
    app = create(settings, load_settings(CuratorSettings), load_settings(MonitorSettings))
    serve(app, settings.bind_host, settings.port or settings.port_base + PORT)


def create(settings: Settings, curator: CuratorSettings, own: MonitorSettings) -> FastAPI:
    engine = connect(settings)
    check_database(engine)
    sessions = make_session_factory(engine)
    keys = open_key_ring(sessions)
    monitor = Monitor(
        sessions,
        settings.family,
        derive_rules(curator, own),
        partial(request_retrain, settings=settings, curator=curator),
        lambda: datetime.now(UTC),
    )
    workers = [
        every(curator.monitor_seconds, "monitor", lambda: export_report(monitor.look())),
        Worker("keys", keys.run),
    ]
    app = create_app(
        SERVICE, checks={"database": partial(check_database, engine)}, lifespan=run_workers(workers, engine.dispose)
    )
    app.state.keys = keys
    app.include_router(make_router(sessions))
    return app


def derive_rules(curator: CuratorSettings, own: MonitorSettings) -> Rules:
    return Rules(
        OpinionRules(
            own.opinion_run_length,
            own.opinion_warm_up_votes,
            timedelta(seconds=own.opinion_period_seconds),
            own.opinion_margin,
        ),
        Limits(timedelta(seconds=own.cooldown_seconds), own.monthly_budget, own.minimum_pairs, own.shadow),
        curator.volume_pairs,
        timedelta(seconds=own.schedule_seconds) if own.schedule_seconds else None,
        timedelta(seconds=own.window_seconds),
    )
