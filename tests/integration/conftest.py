"""What several integration tests start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.curator_scene import Curator, open_curator


@pytest.fixture
def curator_over_http(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as curator:
        yield curator
