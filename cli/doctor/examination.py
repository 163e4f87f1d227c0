"""All checks in order, and how they are shown."""

import os
from collections.abc import Iterator

from rich.console import Console

from cli.doctor import configuration, kafka, machine, servers
from cli.doctor.finding import Finding, ok, problem, warning
from local.connections import EXISTING, choose_connections
from local.credentials import Secrets
from local.stack.stack import Stack

NO_SECRETS = Secrets("", "", "", "", "", "", "")
"""Of a stack that was never started; its embedded servers are not asked."""
STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def examine(stack: Stack) -> Iterator[Finding]:
    """Yield each finding as it is made. Nothing is changed, created or started."""
    yield from machine.check_python()
    yield from machine.check_packages()
    yield from machine.check_home(stack.layout)
    yield from machine.check_disk(stack.layout)
    if stack.layout.secrets.exists():
        yield from configuration.check_settings(stack.environment)
        yield from _check_processes(stack)
        yield from _check_servers(stack, running=stack.is_running())
        return
    given = os.environ
    if any(variable in given for variable in EXISTING.values()):
        yield from configuration.check_settings(given)
        yield from _check_servers(stack, running=False)
    else:  # `heliotrope up` makes the secrets itself
        yield from configuration.check_settings({**given, **dict.fromkeys(configuration.SECRETS, "made by up")})
        yield from machine.check_ports(stack.layout)


def _check_processes(stack: Stack) -> Iterator[Finding]:
    if not stack.is_running():
        yield warning("processes", "the stack of this home does not run", "heliotrope up")
        yield from machine.check_ports(stack.layout)
        return
    unwell = [health for health in stack.list_health() if not health.ready]
    for health in unwell:
        remedy = f"read {stack.layout.log(health.name)}; the supervisor starts it again by itself"
        yield problem("processes", f"{health.name}: {health.problem}", remedy)
    if not unwell:
        yield ok("processes", "all are ready")


def _check_servers(stack: Stack, *, running: bool) -> Iterator[Finding]:
    """Those that should answer: of a stack that does not run, only the existing ones that it was told of."""
    checks = {
        "postgres": servers.check_postgres,
        "valkey": servers.check_redis,
        "broker": kafka.check_kafka,
        "mlflow": servers.check_mlflow,
        "model-server": servers.check_models,
    }
    connections = choose_connections(stack.layout, NO_SECRETS, os.environ) if not running else stack.connections
    for name, check in checks.items():
        if running or name not in connections.embedded:
            yield from check(connections)


def show(finding: Finding, console: Console) -> None:
    """Print one line, and the remedy below it."""
    style = STYLES[finding.verdict]
    console.print(f"[{style}]{finding.verdict:<8}[/{style}] {finding.check:<12} ", end="")
    console.print(finding.summary, markup=False)
    if finding.remedy:
        console.print(f"{'':<22}do: {finding.remedy}", markup=False)
