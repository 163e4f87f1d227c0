"""What several integration tests start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from local.chromium import Chromium, find_chromium, open_chromium
from tests.integration.curator.scene import Curator, open_curator


@pytest.fixture
def sessions(database_url: str) -> Iterator["sessionmaker[Session]"]:
    """Sessions on a fresh, migrated database."""
    engine = create_engine(database_url)
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A browser without a screen; .ci/run installs one first."""
    binary = find_chromium()
    if binary is None:
        pytest.skip("no Chromium on this machine (on Debian: apt-get install chromium)")
    with open_chromium(binary) as browser:
        yield browser


@pytest.fixture
def curator_over_http(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as curator:
        yield curator
