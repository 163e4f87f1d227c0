"""Starts processes as soon as those they need are ready, and gives up with a reason."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from local.errors import StackFailed
from local.layout import Layout
from local.supervision.health import find_problem
from local.supervision.processes import Process
from local.supervision.supervisor import ProcessState

MAX_ATTEMPTS = 2
"""A process that died this often before it was ready fails the start."""


class ProcessControl(Protocol):
    """What starting and stopping asks of a supervisor."""

    def start_process(self, name: str) -> None: ...

    def stop_process(self, name: str) -> None: ...

    def list_processes(self) -> Mapping[str, ProcessState]: ...


def launch(
    supervisor: ProcessControl, processes: Sequence[Process], layout: Layout, report: Callable[[str], None]
) -> None:
    """Start `processes`, each when its needs among them are ready; return when all are ready.

    Raises:
        StackFailed: one of them died twice, or was not ready in its time.
    """
    names = {process.name for process in processes}
    waiting = list(processes)
    starting: dict[str, tuple[Process, float]] = {}
    attempts: dict[str, set[int]] = defaultdict(set)
    ready: set[str] = set()
    while waiting or starting:
        for process in [process for process in waiting if names.intersection(process.needs) <= ready]:
            supervisor.start_process(process.name)
            waiting.remove(process)
            starting[process.name] = (process, time.monotonic())
        states = supervisor.list_processes()
        for process, since in list(starting.values()):
            state = states[process.name]
            attempts[process.name].add(state.started_at)
            problem = find_problem(process)
            if state.is_up and problem is None:
                del starting[process.name]
                ready.add(process.name)
                report(f"{process.name} is ready after {time.monotonic() - since:.1f} s")
                continue
            if state.state == "FATAL" or len(attempts[process.name]) > MAX_ATTEMPTS:
                raise StackFailed(_describe(process, layout, f"keeps dying ({state.description})"))
            if time.monotonic() - since > process.ready_seconds:
                raise StackFailed(
                    _describe(process, layout, f"is not ready after {process.ready_seconds:.0f} s: {problem}")
                )
        time.sleep(0.1)


def _describe(process: Process, layout: Layout, problem: str) -> str:
    log = layout.log(process.name)
    lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
    return "\n".join([f"{process.name} {problem}", f"its log is {log}, which ends:", *(f"  {line}" for line in lines)])


def stop(supervisor: ProcessControl, names: Sequence[str], deadline_seconds: float = 60) -> None:
    """Ask all of `names` to stop at once and wait until they have; the supervisor kills what does not."""
    asked = [name for name, state in supervisor.list_processes().items() if name in names and state.is_alive]
    for name in asked:
        supervisor.stop_process(name)
    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        states = supervisor.list_processes()
        if not any(states[name].is_alive for name in asked):
            return
        time.sleep(0.05)
