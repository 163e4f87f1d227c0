"""Machines over a shell each: here a folder each on this machine."""

import shlex
import stat
import time
from pathlib import Path

import pytest

from services.trainer.adapters.launching.machines import Machine, MachinesLauncher
from services.trainer.domain.launching.endings import LauncherRefused, LauncherUnavailable, QuotaReached
from services.trainer.domain.launching.orders import LaunchOrder

UNREACHABLE = "#!/bin/sh\necho 'connect to host: No route to host' >&2\nexit 255\n"


class Hosts:
    """Two hosts; what each does is a script in ssh's place, which may be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines = [Machine(name, (str(folder / f"{name}.sh"),)) for name in ("a", "b")]
        for machine in self.machines:
            self.connect(machine.name)

    def connect(self, name: str, script: str | None = None) -> None:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        path = self.folder / f"{name}.sh"
        path.write_text(script or f'#!/bin/sh\ncd {shlex.quote(str(home))} && exec sh -c "$1"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def launcher(self, command: str = "sleep", **settings: float) -> MachinesLauncher:
        return MachinesLauncher(self.machines, "jobs", (command,), 29600, **settings)

    def is_training(self, name: str, job: str = "run-1") -> bool:
        try:
            pid = (self.folder / name / "jobs" / job / "pid").read_text().strip()
            return Path(f"/proc/{pid}/stat").read_text().split(" ")[2] != "Z"
        except FileNotFoundError:
            return False


ORDER = LaunchOrder(name="run-1", arguments=("60",), nodes=2)


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def wait_until_over(hosts: Hosts, name: str) -> None:
    deadline = time.monotonic() + 5
    while hosts.is_training(name) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not hosts.is_training(name)


def test_a_start_that_one_host_refuses_is_taken_back_from_the_others(hosts: Hosts):
    hosts.connect("b", "#!/bin/sh\nexit 73\n")
    with pytest.raises(LauncherRefused, match=r"^b: "):
        hosts.launcher().start(ORDER)
    wait_until_over(hosts, "a")


def test_a_start_that_waited_for_a_busy_host_begins_anew_on_all(hosts: Hosts):
    launcher = hosts.launcher()
    hosts.connect("b", "#!/bin/sh\necho other/\nexit 75\n")
    with pytest.raises(QuotaReached):
        launcher.start(ORDER)
    wait_until_over(hosts, "a")
    hosts.connect("b")
    launcher.start(ORDER)
    assert launcher.look("run-1").state == "running"
    launcher.cancel("run-1")


def test_a_host_that_is_gone_for_good_is_an_eviction_and_the_others_are_ended(hosts: Hosts):
    launcher = hosts.launcher(unreachable_seconds=0.2)
    launcher.start(ORDER)
    hosts.connect("b", UNREACHABLE)
    assert launcher.look("run-1").state == "running"  # for a moment
    time.sleep(0.3)
    state = launcher.look("run-1")
    assert (state.state, "b" in state.reason) == ("evicted", True)
    wait_until_over(hosts, "a")
    hosts.connect("b")
    launcher.cancel("run-1")


def test_a_host_that_takes_no_part_may_be_away(hosts: Hosts):
    launcher = hosts.launcher(unreachable_seconds=0.0)
    launcher.start(LaunchOrder(name="run-1", arguments=("60",), nodes=1))
    hosts.connect("b", UNREACHABLE)
    assert launcher.look("run-1").state == "running"
    hosts.connect("b")
    launcher.cancel("run-1")


def test_a_host_that_comes_back_is_forgiven(hosts: Hosts):
    launcher = hosts.launcher(unreachable_seconds=0.2)
    launcher.start(ORDER)
    hosts.connect("b", UNREACHABLE)
    launcher.look("run-1")
    hosts.connect("b")
    launcher.look("run-1")
    time.sleep(0.3)
    hosts.connect("b", UNREACHABLE)
    assert launcher.look("run-1").state == "running"
    hosts.connect("b")
    launcher.cancel("run-1")


def test_no_host_that_answers_is_an_engine_that_is_away(hosts: Hosts):
    launcher = hosts.launcher(unreachable_seconds=0.0)
    for name in ("a", "b"):
        hosts.connect(name, UNREACHABLE)
    with pytest.raises(LauncherUnavailable, match="No route"):
        launcher.look("run-1")


def test_a_cancel_reaches_the_hosts_that_answer(hosts: Hosts):
    launcher = hosts.launcher()
    launcher.start(ORDER)
    hosts.connect("a", UNREACHABLE)
    with pytest.raises(LauncherUnavailable):
        launcher.cancel("run-1")
    wait_until_over(hosts, "b")
    hosts.connect("a")
    launcher.cancel("run-1")
    wait_until_over(hosts, "a")
