"""A real Ray cluster on this machine, two CPUs, that asks for a token."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from msgspec import structs

from services.trainer.adapters.launching.ray import RayLauncher
from services.trainer.domain.launching.settings import Ray
from services.trainer.ports import Launcher
from tests.launchers.environments import find_python
from tests.launchers.rigs import ROOT
from tests.trainer_processes import find_port

TOKEN = "0123456789abcdef0123456789abcdef"
START_SECONDS = 90.0


class RayRig:
    def __init__(self, url: str, nodes: int, command: tuple[str, ...], *, cpus: float = 1.0) -> None:
        driver = (str(find_python()), "-m", "services.trainer.adapters.launching.ray_driver")
        self.nodes, self.settings = nodes, Ray(url=url, cpus=cpus, driver=driver, command=command)
        self.launcher: Launcher = self._make(TOKEN, cpus)

    def _make(self, token: str, cpus: float) -> Launcher:
        return RayLauncher(structs.replace(self.settings, cpus=cpus), token)

    def evict(self, handle: str) -> None:
        """Kill Ray's own worker process, whose training dies with it."""
        run = handle.split("-")[1]
        training = [process for process in psutil.process_iter(["cmdline"]) if _trains(process, run)]
        parent = training[-1].parent()
        assert parent is not None
        parent.kill()

    def make_denied(self) -> Launcher:
        return self._make("f" * 32, 1.0)

    @contextmanager
    def fill(self) -> Iterator[None]:
        """More is asked for than the cluster has."""
        usual = self.launcher
        self.launcher = self._make(TOKEN, 64.0)
        yield
        self.launcher = usual


def _trains(process: psutil.Process, run: str) -> bool:
    """Tell whether it is a training process of the run, and no driver, which has the whole command in one word."""
    line = process.info["cmdline"] or []
    return (
        "train" in line
        and any(run in word.replace("-", "") for word in line)
        and "timeout" not in line[0]
        and ("services.trainer.adapters.launching.ray_driver" not in line)
    )


@contextmanager
def run_ray(folder: Path) -> Iterator[str]:
    """Start a head of two CPUs in a folder of its own; yields the Jobs API's address."""
    port, dashboard = find_port(), find_port()
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "PYTHONPATH": f"{ROOT}:{ROOT}/clients/python",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }
    ray = [str(find_python()), "-m", "ray.scripts.scripts"]
    ports = (f"--port={port}", f"--dashboard-port={dashboard}")
    command = [
        *ray, "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats", "--include-dashboard=true",
        *ports, "--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}",
        "--object-store-memory=150000000",
    ]  # fmt: skip
    with (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{dashboard}"
    try:
        wait_for(url, head, folder / "head.log")
        yield url
    finally:
        end_tree(head)


def wait_for(url: str, head: "subprocess.Popen[bytes]", log: Path) -> None:
    pause = threading.Event()
    for _ in range(int(START_SECONDS)):
        assert head.poll() is None, f"Ray's head did not start: {log.read_text()[-1000:]}"
        try:
            if httpx.get(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=2.0).is_success:
                return
        except httpx.HTTPError:
            pass
        pause.wait(1.0)
    raise AssertionError("Ray does not answer")


def end_tree(head: "subprocess.Popen[bytes]") -> None:
    """End the head and all that it started."""
    processes = psutil.Process(head.pid).children(recursive=True) if head.poll() is None else []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    head.kill()
    head.wait()
