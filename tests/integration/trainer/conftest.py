"""A real Postgres for the trainer's runs, and its API over it."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import sessionmaker

from services.trainer.api import make_router
from shared.auth import KeyRing, load_keys
from shared.http import create_app
from tests.integration.trainer.scene import Sessions
from tests.unit.trainer.plain_arithmetic import plain_arithmetic as plain_arithmetic


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    return sessionmaker(engine, expire_on_commit=False)


@pytest.fixture
def client(sessions: Sessions) -> TestClient:
    app = create_app("trainer", checks={})
    app.state.keys = KeyRing(lambda: load_keys(sessions))
    app.include_router(make_router(sessions, topic_prefix=""))
    return TestClient(app)
