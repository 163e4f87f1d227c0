"""Kills, stops and waits for the processes of a stack."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from local.stack.stack import Stack
from local.supervision.health import find_problem

POLL_SECONDS = 0.05


class NotInTime(AssertionError):
    """Something that should have come back has not."""


def wait_until(look: Callable[[], bool], what: str, seconds: float) -> float:
    """Look until it is so; the seconds it took.

    Raises:
        NotInTime: naming `what`.
    """
    started = time.monotonic()
    while not look():
        if time.monotonic() - started > seconds:
            raise NotInTime(f"{what}: not within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - started


class Saboteur:
    """Does to the processes of a running stack what happens to processes."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._processes = {process.name: process for process in stack.processes}

    def find(self, name: str) -> psutil.Process:
        """The process itself, as its supervisor knows it; the supervisor too."""
        pid = (
            int((self._stack.layout.home / "supervisor.pid").read_text())
            if name == "supervisor"
            else self._stack.supervisor.list_processes()[name].pid
        )
        return psutil.Process(pid)

    def kill(self, name: str) -> int:
        """SIGKILL, to the process alone: what it started must notice by itself. Returns when it is gone; its pid."""
        victim = self.find(name)
        victim.kill()
        with suppress(psutil.NoSuchProcess):
            wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, f"{name} dies", 5)
        return victim.pid

    @contextmanager
    def stopped(self, name: str, *, alone: bool = False) -> Iterator[None]:
        """SIGSTOP to the process and, if not `alone`, all that it started; SIGCONT at the end."""
        victim = self.find(name)
        family = [victim] if alone else [victim, *victim.children(recursive=True)]
        _signal(family, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(family, signal.SIGCONT)

    def is_up(self, name: str) -> bool:
        """Whether its supervisor believes it to run."""
        return self._stack.supervisor.list_processes()[name].is_up

    def is_ready(self, name: str, *, other_than: int = 0) -> bool:
        """Whether it runs, under another pid than `other_than`, and answers."""
        state = self._stack.supervisor.list_processes().get(name)
        if state is None or not state.is_up or state.pid in (0, other_than):
            return False
        return find_problem(self._processes[name]) is None

    def wait_until_ready(self, name: str, *, other_than: int = 0, seconds: float = 60) -> float:
        return wait_until(lambda: self.is_ready(name, other_than=other_than), f"{name} is ready", seconds)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
