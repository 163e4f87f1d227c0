"""How a process does: what its supervisor says, and whether it answers."""

import contextlib
from dataclasses import dataclass

import psutil

from local.supervision.processes import Process
from local.supervision.supervisor import ProcessState


@dataclass(frozen=True)
class Health:
    name: str
    state: str
    ready: bool
    problem: str | None
    pid: int
    port: int
    seconds: int
    memory_mb: int
    """Proportional set size of the process and its children."""


def assess_health(process: Process, state: ProcessState) -> Health:
    problem = find_problem(process) if state.is_up else state.description or state.state.lower()
    return Health(
        name=process.name,
        state=state.state,
        ready=problem is None,
        problem=problem,
        pid=state.pid,
        port=process.port,
        seconds=state.seconds,
        memory_mb=measure_memory_mb(state.pid) if state.pid else 0,
    )


def find_problem(process: Process) -> str | None:
    """Return why it is not ready; None when it is."""
    try:
        process.check()
    except Exception as error:
        return str(error) or type(error).__name__
    return None


def measure_memory_mb(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += member.memory_full_info().pss
    return round(total / 1e6)
