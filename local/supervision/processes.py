"""What a process of the stack is, and the list of our own services."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local.layout import Layout
from local.supervision.readiness import answers_http

Check = Callable[[], None]
"""Raises while the process is not ready."""


@dataclass(frozen=True)
class Process:
    """One child of the supervisor.

    `environment` is added to the stack's. `needs` are the processes, if the stack has them,
    that must be ready before it starts.
    """

    name: str
    command: tuple[str, ...]
    port: int
    check: Check
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    ready_seconds: float = 180
    stop_signal: str = "TERM"
    stop_seconds: int = 30


@dataclass(frozen=True)
class Service:
    """A row of the table below: `python -m <module> [role]`."""

    name: str
    module: str
    role: str = ""
    needs: tuple[str, ...] = ()
    computes: bool = False
    starts_with: str = "readyz"
    """What answers once it has started."""


SERVICES = (
    Service("deployer", "services.deployer", needs=("mlflow",)),
    Service("ingest", "services.ingest"),
    Service("curator", "services.curator", "api"),
    Service("evaluator", "services.evaluator", needs=("mlflow",), computes=True),
    Service("trainer", "services.trainer"),
    Service("trainer-worker", "services.trainer", "worker", needs=("mlflow",), computes=True),
    Service("drift-monitor", "services.curator", "monitor"),
    Service("gateway", "services.gateway", starts_with="healthz"),  # ready once a model is adopted
    Service("console", "services.console"),
)
"""In start order, where their needs allow it. `computes`: uses every core for torch; the others take one thread."""


def limit_threads(threads: int) -> dict[str, str]:
    """Bound the thread pools of numerical libraries, which would otherwise fight for the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: str(threads) for name in names} | {"OMP_WAIT_POLICY": "PASSIVE"}


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def list_services(layout: Layout) -> list[Process]:
    """List our services as processes."""
    return [
        Process(
            name=service.name,
            command=(sys.executable, "-m", service.module, *([service.role] if service.role else [])),
            port=layout.port(service.name),
            check=answers_http(f"{layout.url(service.name)}/{service.starts_with}"),
            environment={
                "HELIOTROPE_PORT": str(layout.port(service.name)),
                **limit_threads(count_cores() if service.computes else 1),
            },
            needs=service.needs,
        )
        for service in SERVICES
    ]
