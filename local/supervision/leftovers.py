"""Processes that outlived their supervisor, which can only happen when it was killed with SIGKILL."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import psutil

from local.layout import MARK


def find_leftovers(home: Path) -> list[psutil.Process]:
    """Return processes that carry this home's mark, other than this one and its parents."""
    spared = {psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in spared and process.environ().get(MARK) == str(home):
                found.append(process)
    return found


def stop_leftovers(processes: Sequence[psutil.Process], deadline_seconds: float = 20) -> None:
    """Send SIGTERM, then SIGKILL to what is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=deadline_seconds)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
