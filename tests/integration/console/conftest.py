"""A console with everything behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.connections import Connections
from tests.integration.console.scene import Desk, open_desk
from tests.integration.deployer.scene import Setup


@pytest.fixture
def desk(database_url: str, stores: Connections, tmp_path: Path) -> Iterator[Desk]:
    setup = Setup(database_url, tmp_path, "http://127.0.0.1:1/v1")
    with open_desk(setup, database_url, stores.redis_url) as desk:
        yield desk
    setup.close()
