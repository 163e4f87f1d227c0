"""What the tests of methods start from: a model small enough to train in a test, and one thread, so that runs agree."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.trainer.plain_arithmetic import plain_arithmetic as plain_arithmetic
from tests.unit.trainer.tiny_model import save_tiny_model


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("parent"))
