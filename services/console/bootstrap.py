"""The console's composition root."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine

from services.console.adapters.pages import Pages, make_environment
from services.console.adapters.services import Services
from services.console.adapters.session_store import RedisSessions, open_sessions
from services.console.api import (
    datasets,
    evaluations,
    evidence,
    live,
    operations,
    overview,
    review,
    rollouts,
    signing_in,
    static,
)
from services.console.api.errors import render_errors_as_pages
from services.console.api.http import Console
from services.console.handlers.overview import OverviewLooks
from services.console.handlers.signing_in import SignIns, Turnstile
from services.console.repository.reading import open_for_reading
from services.console.settings import ASKED, ConsoleSettings
from shared.db import check_database, make_session_factory
from shared.http import create_app
from shared.logging import configure_logging
from shared.process import run_workers, serve
from shared.rate_limits import RateLimit, RateLimiter
from shared.settings import Settings, load_settings

SIGN_INS = RateLimit(events_per_second=0.5, burst=20)
"""By wrong keys of one address."""
MAX_FORM_BYTES = 64_000
DOCUMENTATION = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""Pages of the framework's with scripts of others: they have no place on the origin of people's sessions."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def now() -> datetime:
    return datetime.now(UTC)


def run() -> None:
    """Serve until told to stop."""
    settings, own = load_settings(Settings), load_settings(ConsoleSettings)
    configure_logging("console", settings.log_level)
    serve(create(settings, own), settings, settings.choose_port("console"))


def create(settings: Settings, own: ConsoleSettings) -> FastAPI:
    engine = open_for_reading(settings, own.statement_seconds)
    store = open_sessions(settings.redis_url.get_secret_value())
    urls = {name: own.find_service(name, settings.port_base) for name in ASKED}
    client = httpx.Client(timeout=own.answer_seconds, trust_env=False)
    services = Services(urls, client)
    console = compose(settings, own, engine, store, services)

    def close() -> None:
        services.close()
        store.close()
        engine.dispose()

    return make_app(console, engine, store, run_workers([], close))


def compose(
    settings: Settings, own: ConsoleSettings, engine: Engine, store: RedisSessions, services: Services
) -> Console:
    sessions = make_session_factory(engine)
    turnstile = Turnstile(RateLimiter(SIGN_INS, time.monotonic, subject="address", unit="sign-ins"))
    patience = own.session_seconds, own.recheck_seconds, own.grace_seconds
    sign_ins = SignIns(store, services, turnstile, time.time, *patience)
    looks = OverviewLooks(sessions, settings.family, now, own.look_seconds)
    return Console(settings, own, sessions, sign_ins, services, Pages(make_environment(now)), looks, now)


def make_app(console: Console, engine: Engine, store: RedisSessions, lifespan: Lifespan) -> FastAPI:
    app = create_app(
        "console",
        checks={},
        outages={"database": lambda: check_database(engine), "sessions": store.check},
        lifespan=lifespan,
        max_body_bytes=MAX_FORM_BYTES,
    )
    app.state.console = console
    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") not in DOCUMENTATION]
    render_errors_as_pages(app)
    for part in (signing_in, static, live, overview, rollouts, evaluations, evidence, review, datasets, operations):
        app.include_router(part.create_router())
    return app
