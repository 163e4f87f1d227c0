"""How much memory the stack takes: proportional set sizes, summed over its processes."""

import contextlib
import threading
from pathlib import Path

import psutil


def measure_pss(home: Path) -> int:
    """Measure in bytes: this process, its children, and every process that knows `home` as its HELIOTROPE_HOME or data
    folder.
    """
    mine = psutil.Process()
    processes = {mine.pid: mine} | {child.pid: child for child in mine.children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in processes and _belongs(process, home):
                processes[process.pid] = process
                processes |= {child.pid: child for child in process.children(recursive=True)}
    total = 0
    for process in processes.values():
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


def _belongs(process: psutil.Process, home: Path) -> bool:
    return process.environ().get("HELIOTROPE_HOME") == str(home) or str(home) in " ".join(process.cmdline())


class PeakMemory:
    """Samples in the background; `peak` is the largest sum seen."""

    def __init__(self, home: Path, *, every_seconds: float = 5.0) -> None:
        self._home = home
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self.peak = 0

    def _run(self) -> None:
        while not self._stop.is_set():
            self.peak = max(self.peak, measure_pss(self._home))
            self._stop.wait(self._every_seconds)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(self._every_seconds + 10)
