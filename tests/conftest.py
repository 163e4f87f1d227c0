"""Real servers for the tests that ask for them: Postgres, Valkey, the broker. Started once, on first use.

The environment's servers are used in their place when `HELIOTROPE_DATABASE_URL`, `HELIOTROPE_REDIS_URL` or
`HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS` names one; tests then still make databases and topics of their own.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from hypothesis import HealthCheck, settings

from local.connections import Connections
from local.servers.postgres import create_database, drop_database
from local.stack.preparation import migrate
from local.stack.stack import Stack
from local.supervision.readiness import is_port_free
from tests.skips import pytest_addoption, pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_addoption", "pytest_sessionfinish", "pytest_terminal_summary"]

STORES = ("postgres", "valkey", "broker")

# structlog's default draws every local of every frame into a traceback: 10 s of CPU for each logged exception
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# How fast a machine is tells nothing about a rule: no deadline for an example, none for drawing it
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def find_port_base() -> Callable[[], int]:
    """Finds a base above which no port of a stack is taken, a new one each time and away from the default one.

    Processes that share the tests out (pytest-xdist) draw from bases of their own.
    """
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    bases = list(range(20_000, 32_000, 60))[int(worker.removeprefix("gw")) :: int(workers)]
    random.shuffle(bases)

    def find() -> int:
        while True:
            base = bases.pop()
            if all(is_port_free(base + offset) for offset in range(60)):
                return base

    return find


@pytest.fixture(scope="session")
def stores(find_port_base: Callable[[], int]) -> Iterator[Connections]:
    """Postgres, Valkey and the broker, for the whole run."""
    home = Path(tempfile.mkdtemp(prefix="heliotrope-tests-"))
    home.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
    stack = Stack(home, find_port_base(), only=STORES, throwaway=True)
    stack.up()
    yield stack.connections
    stack.down()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def migrated_template(stores: Connections) -> Iterator[str]:
    """Name of a database with all tables and no rows, to copy."""
    name = f"heliotrope_template_{uuid4().hex[:12]}"
    migrate(create_database(stores.database_server_url, name))
    yield name
    drop_database(stores.database_server_url, name)


@pytest.fixture
def database_url(stores: Connections, migrated_template: str) -> Iterator[str]:
    """A fresh, migrated database; gone after the test."""
    name = f"heliotrope_test_{uuid4().hex[:12]}"
    yield create_database(stores.database_server_url, name, template=migrated_template)
    drop_database(stores.database_server_url, name)


@pytest.fixture
def redis_url(stores: Connections) -> str:
    """Valkey; tests keep apart by queue names of their own."""
    return stores.redis_url


@pytest.fixture
def kafka_bootstrap(stores: Connections) -> str:
    return stores.kafka_bootstrap_servers


@pytest.fixture
def topic_prefix() -> str:
    """Keeps the topics of one test apart from all others."""
    return f"t{uuid4().hex[:10]}."
