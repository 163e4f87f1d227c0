"""Starting processes in the order of their needs, against a supervisor that is a dictionary."""

from pathlib import Path

import pytest

from local.errors import StackFailed
from local.layout import OFFSETS, Layout
from local.supervision.launch import MAX_ATTEMPTS, launch, stop
from local.supervision.processes import SERVICES, Process
from local.supervision.supervisor import ProcessState, render_config

LAYOUT = Layout(Path("/nowhere"), 9000)


class FakeSupervisor:
    """Starts at once what it is asked to, except `dying`, which is started anew at every look."""

    def __init__(self, dying: str = "") -> None:
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.dying = dying
        self.looks = 0

    def start_process(self, name: str) -> None:
        self.started.append(name)

    def stop_process(self, name: str) -> None:
        self.stopped.append(name)

    def list_processes(self) -> dict[str, ProcessState]:
        self.looks += 1
        return {name: self.describe(name) for name in self.started}

    def describe(self, name: str) -> ProcessState:
        if name in self.stopped:
            return ProcessState(name, "STOPPED", 0, 0, 0, "")
        if name == self.dying:
            return ProcessState(name, "BACKOFF", 0, self.looks, 0, "Exited too quickly")
        return ProcessState(name, "RUNNING", 100, 1, 1, "")


def process(name: str, *needs: str, ready: bool = True, ready_seconds: float = 5) -> Process:
    def check() -> None:
        if not ready:
            raise ConnectionError("nobody listens")

    return Process(name, ("true",), 1, check, needs=needs, ready_seconds=ready_seconds)


def run(supervisor: FakeSupervisor, *processes: Process) -> list[str]:
    said: list[str] = []
    launch(supervisor, processes, LAYOUT, said.append)
    return said


def test_a_process_starts_after_those_it_needs():
    supervisor = FakeSupervisor()
    said = run(supervisor, process("gateway", "deployer"), process("deployer", "mlflow"), process("mlflow"))
    assert supervisor.started == ["mlflow", "deployer", "gateway"]
    assert [line.split()[0] for line in said] == ["mlflow", "deployer", "gateway"]


def test_a_need_that_runs_elsewhere_holds_nothing_up():
    supervisor = FakeSupervisor()
    run(supervisor, process("deployer", "mlflow"))
    assert supervisor.started == ["deployer"]


def test_a_process_that_keeps_dying_fails_the_start_before_its_time_is_up():
    supervisor = FakeSupervisor(dying="curator")
    with pytest.raises(StackFailed, match="curator keeps dying") as failure:
        run(supervisor, process("curator", ready=False, ready_seconds=600))
    assert supervisor.looks == MAX_ATTEMPTS + 1
    assert "/nowhere/logs/curator.log" in str(failure.value)


def test_a_process_that_is_never_ready_fails_the_start_and_says_why():
    with pytest.raises(StackFailed, match="ingest is not ready after 0 s: nobody listens"):
        run(FakeSupervisor(), process("ingest", ready=False, ready_seconds=0.2))


def test_stopping_asks_only_for_what_runs():
    supervisor = FakeSupervisor()
    run(supervisor, process("ingest"), process("gateway"))
    stop(supervisor, ["gateway", "trainer"])
    assert supervisor.stopped == ["gateway"]


def test_paths_with_spaces_and_percent_signs_survive_the_configuration():
    service = Process("ingest", ("/opt/sun flower/python", "-m", "x"), 1, lambda: None, {"A": "50%"})
    config = render_config([service], home=Path("/a b/50%"), port=1, password="p%p", folder=Path("/sun flower"))
    assert "command='/opt/sun flower/python' -m x" in config
    assert "identifier=/a b/50%%" in config
    assert "password=p%%p" in config
    assert 'environment=A="50%%"' in config


def test_every_service_has_a_port():
    assert {service.name for service in SERVICES} <= set(OFFSETS)
