"""The engines of the contract, each with what a test does to it: take a machine away, lock us out, fill it up."""

import os
import shlex
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from services.trainer.adapters.launching.machines import Machine, MachinesLauncher
from services.trainer.ports import Launcher

ROOT = Path(__file__).parents[2]


class Rig(Protocol):
    """An engine under test."""

    nodes: int
    launcher: Launcher

    def evict(self, handle: str) -> None:
        """Take a machine of the job away, without a word to it."""

    def make_denied(self) -> Launcher:
        """Make a launcher whose credentials are wrong."""

    def fill(self) -> AbstractContextManager[None]:
        """Leave the engine no room for as long as the block lasts."""


def make_environment(home: Path) -> dict[str, str]:
    return {"HELIOTROPE_HOME": str(home), "PYTHONPATH": f"{ROOT}:{ROOT}/clients/python"}


def program() -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.launchers.program")


class MachinesRig:
    """This machine by a shell of its own, or two that are reached as ssh would: `HOST COMMAND`."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.nodes, self._folder = nodes, folder
        self.launcher: Launcher = self._make([self._make_shell(f"host-{rank}") for rank in range(nodes)])

    def _make_shell(self, host: str, script: str | None = None) -> Machine:
        """A command in the place of ssh, which takes a script; each host has folders of its own."""
        home = self._folder / host
        home.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{host}.sh"
        path.write_text(script or f'#!/bin/sh\ncd {shlex.quote(str(home))} && exec sh -c "$1"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return Machine(host if self.nodes > 1 else "127.0.0.1", (str(path),))

    def _make(self, machines: list[Machine]) -> Launcher:
        return MachinesLauncher(machines, "jobs", program(), 29600)

    def evict(self, handle: str) -> None:
        last = self._folder / f"host-{self.nodes - 1}" / "jobs" / handle / "pid"
        os.killpg(int(last.read_text()), signal.SIGKILL)

    def make_denied(self) -> Launcher:
        refusal = "#!/bin/sh\necho 'host-x: Permission denied (publickey).' >&2\nexit 255\n"
        return self._make([self._make_shell("denied", refusal)] * self.nodes)

    @contextmanager
    def fill(self) -> Iterator[None]:
        """Somebody else's job is there."""
        job = self._folder / "host-0" / "jobs" / "another"
        job.mkdir(parents=True)
        born = Path(f"/proc/{os.getpid()}/stat").read_text().split(" ")[21]
        (job / "pid").write_text(f"{os.getpid()}\n")
        (job / "born").write_text(f"{born}\n")
        yield
        (job / "status").write_text("0\n")
