"""Peers, each in an environment of its own that is made when it is first asked for."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from local.supervision.readiness import is_port_free

ENVIRONMENTS = Path("build/peers")


def make_environment(name: str, packages: Sequence[str]) -> Path:
    """Make it and return its folder of commands; installed once, and again when the packages change."""
    folder = (ENVIRONMENTS / name).absolute()
    stamp, wanted = folder / "installed.txt", "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True)
        stamp.write_text(wanted)
    return folder / "bin"


class Server:
    """A process with a port, stopped with all its children."""

    def __init__(self, command: Sequence[str | Path], port: int, environment: Mapping[str, str], log: Path) -> None:
        self.port = port
        with log.open("wb") as output:
            self._process = psutil.Popen(
                [str(part) for part in command],
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        while is_port_free(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens on port {self.port}")
            time.sleep(0.2)

    def _family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def memory_mib(self) -> float:
        return sum(float(process.memory_info().rss) for process in self._family()) / 2**20

    def cpu_seconds(self) -> float:
        return sum(float(sum(process.cpu_times()[:2])) for process in self._family())

    def wait_until_idle(self, seconds: float = 30) -> None:
        """Wait until what it has queued is done."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(0.5)
            if self.cpu_seconds() - before < 0.05:
                return

    def stop(self) -> None:
        family = self._family()
        for process in family:
            process.terminate()
        _, alive = psutil.wait_procs(family, timeout=15)
        for process in alive:
            process.kill()
