"""Stacks to do harm to: each in a folder of its own, on ports of its own."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.connections import EXISTING
from local.stack.stack import Stack

MakeStack = Callable[..., Stack]

SMALL_DISK_BYTES = 200 * 2**20


@contextmanager
def make_stacks(find_port_base: Callable[[], int]) -> Iterator[MakeStack]:
    """A function that makes stacks of embedded servers, which are down and deleted afterwards."""
    root = Path(tempfile.mkdtemp(prefix="heliotrope-faults-"))
    root.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
    made: list[Stack] = []

    def make(home: Path | None = None, *, kind: type[Stack] = Stack, **options: Any) -> Stack:
        stack = kind(home or root / str(len(made)), find_port_base(), **{"throwaway": True, **options})
        made.append(stack)
        return stack

    with pytest.MonkeyPatch.context() as patch:
        for variable in EXISTING.values():
            patch.delenv(variable, raising=False)
        yield make
        for stack in made:
            stack.down()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def make_stack(find_port_base: Callable[[], int]) -> Iterator[MakeStack]:
    with make_stacks(find_port_base) as make:
        yield make


@pytest.fixture(scope="session")
def small_disk() -> Iterator[Path]:
    """A file system of its own, small and empty, where one can be mounted; else a folder."""
    folder = Path(tempfile.mkdtemp(prefix="heliotrope-disk-"))
    folder.chmod(0o755)
    options = f"size={SMALL_DISK_BYTES},mode=755"
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    yield folder
    if mount.returncode == 0:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def data_path(find_port_base: Callable[[], int], small_disk: Path) -> Iterator[Stack]:
    """What feedback passes through, and no more, on a small disk."""
    with make_stacks(find_port_base) as make:
        stack = make(small_disk / "home", only=("postgres", "broker", "ingest", "curator"))
        stack.up()
        yield stack
