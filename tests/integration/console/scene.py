"""A console on a real Postgres and a real Valkey, in front of the services' own routes, with rows in every table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from services.console.adapters.services import Services
from services.console.adapters.session_store import open_sessions
from services.console.bootstrap import compose, make_app
from services.console.repository.reading import open_for_reading
from services.console.settings import ASKED, ConsoleSettings
from services.curator.review.api import create_review_router
from services.deployer.api import create_sign_in_router
from services.evaluator import api as evaluator_api
from services.evaluator.handlers.voting import VoteHandler
from services.trainer import api as trainer_api
from shared.accounts import create_account
from shared.auth import open_key_ring
from shared.process import run_workers
from shared.settings import Settings
from shared.signing import Signer, generate_key
from shared.user_hashes import UserHashes
from tests.integration.console.rows import Rows, add_rows
from tests.integration.deployer.scene import Setup
from tests.integration.gateway.model_server import serve

ROLES = ("rater", "data", "ops", "admin")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Time:
    """Unix time, as far as sessions are concerned."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return now().timestamp() + self.ahead


@dataclass
class Desk:
    """The console, and who may sit down at it."""

    app: FastAPI
    sessions: sessionmaker[Session]
    keys: dict[str, str]
    setup: Setup
    rows: Rows
    time: Time
    clients: dict[str, TestClient] = field(default_factory=dict)

    def open(self, address: str = "192.0.2.1") -> TestClient:
        """A browser without a session."""
        return TestClient(
            self.app,
            base_url="http://console",
            follow_redirects=False,
            raise_server_exceptions=False,
            client=(address, 50_000),
        )

    def sign_in(self, role: str) -> TestClient:
        """The browser of somebody of this role."""
        if role not in self.clients:
            self.clients[role] = self.open()
            answer = self.clients[role].post("/sign-in", data={"key": self.keys[role]})
            assert answer.status_code == 303, answer.text
        return self.clients[role]

    def find_csrf(self, role: str) -> str:
        page = self.sign_in(role).get("/rating" if role == "rater" else "/review" if role == "data" else "/settings")
        return page.text.partition('name="csrf" value="')[2].partition('"')[0]

    def send(self, role: str, path: str, **fields: str) -> Any:
        """Send a form as the page's own would be."""
        return self.sign_in(role).post(path, data={"csrf": self.find_csrf(role), "reason": "the test asks", **fields})


@contextmanager
def open_desk(
    setup: Setup, database_url: str, redis_url: str, add: Callable[[Setup], Rows] = add_rows
) -> Iterator[Desk]:
    signer = Signer(generate_key())
    settings = Settings(database_url=database_url, redis_url=redis_url)
    keys, name = {}, "<b>Anna</b>" if add is add_rows else "Anna"
    with setup.sessions() as session, session.begin():
        for role in ROLES:
            keys[role] = create_account(session, f"{name} ({role})", role)
    services_app: Any = setup.client.app
    voting = VoteHandler(setup.sessions, lambda: UserHashes("a secret of sixteen"), 300, 4, now)
    for router in (
        create_sign_in_router(signer, now),
        create_review_router(setup.sessions, now),
        evaluator_api.create_router(voting, setup.sessions),
        trainer_api.make_router(setup.sessions, topic_prefix=""),
    ):
        services_app.include_router(router)
    ring = open_key_ring(setup.sessions, [signer.public_key])
    services_app.state.keys = ring
    with serve(services_app) as url, httpx.Client(timeout=20, trust_env=False) as client:
        own = ConsoleSettings(look_seconds=0.05)
        engine = open_for_reading(settings, own.statement_seconds)
        store = open_sessions(redis_url)
        console = compose(settings, own, engine, store, Services(dict.fromkeys(ASKED, url), client))
        clock = Time()
        object.__setattr__(console.sign_ins, "clock", clock)
        app = make_app(console, engine, store, run_workers([]))
        yield Desk(app, setup.sessions, keys, setup, add(setup), clock)
        store.close()
        engine.dispose()
