"""The one supervisor: supervisord, configured here and spoken to over XML-RPC on the loopback interface.

It owns every process: restarts the ones that die (waiting one second longer each time), writes and rotates their logs,
and stops them in reverse order.
"""

import http.client
import os
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.errors import SupervisorFailed
from local.supervision.processes import Process

USERNAME = "heliotrope"
RUNNING = "RUNNING"


@dataclass(frozen=True)
class ProcessState:
    name: str
    state: str
    pid: int
    started_at: int
    seconds: int
    description: str

    @property
    def is_up(self) -> bool:
        return self.state in ("STARTING", "RUNNING")

    @property
    def is_alive(self) -> bool:
        return self.pid != 0 or self.state == "BACKOFF"


class _Transport(xmlrpc.client.Transport):
    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = 10
        return connection


class Supervisor:
    """Lives in `home`: its configuration, its pid file, and the logs of all processes under `logs/`."""

    def __init__(self, home: Path, port: int, password: str) -> None:
        self._port = port
        self._password = password
        self._home = home
        self._config = home / "supervisord.conf"
        self._child: subprocess.Popen[bytes] | None = None

    def _call(self, method: str, *arguments: Any) -> Any:
        url = f"http://{USERNAME}:{self._password}@127.0.0.1:{self._port}/RPC2"
        with xmlrpc.client.ServerProxy(url, transport=_Transport()) as server:
            return getattr(server.supervisor, method)(*arguments)

    def is_running(self) -> bool:
        """Return whether our supervisor answers: the port may also belong to a stranger."""
        if self._child is not None:
            self._child.poll()  # if it was killed, let it not stay a zombie
        try:
            return bool(self._call("getIdentification") == str(self._home))
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def matches(self, config: str) -> bool:
        return self._config.exists() and self._config.read_text() == config

    def start(self, config: str, environment: Mapping[str, str], deadline_seconds: float = 20) -> None:
        """Start supervisord with nothing running under it yet.

        Raises:
            SupervisorFailed: with what it said.
        """
        logs = self._home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        draft = self._config.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(config)
        draft.replace(self._config)
        said = logs / "supervisor.stderr"
        with said.open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--silent", "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=dict(environment),
                cwd=self._home,
                start_new_session=True,
            )
        deadline = time.monotonic() + deadline_seconds
        while not self.is_running():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise SupervisorFailed(f"supervisord did not start: {said.read_text().strip() or 'it said nothing'}")
            time.sleep(0.05)

    def list_processes(self) -> dict[str, ProcessState]:
        return {
            info["name"]: ProcessState(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"],
                started_at=info["start"],
                seconds=info["now"] - info["start"] if info["statename"] == RUNNING else 0,
                description=info["spawnerr"] or info["description"],
            )
            for info in self._call("getAllProcessInfo")
        }

    def start_process(self, name: str) -> None:
        self._call_tolerating("ALREADY_STARTED", "startProcess", name)

    def stop_process(self, name: str) -> None:
        """Ask for the stop and return; `list_processes` tells when it happened."""
        self._call_tolerating("NOT_RUNNING", "stopProcess", name)

    def _call_tolerating(self, fault: str, method: str, name: str) -> None:
        try:
            self._call(method, name, False)  # False: do not wait for the change
        except xmlrpc.client.Fault as error:
            if not error.faultString.startswith(fault):
                raise

    def shut_down(self, deadline_seconds: float = 60) -> None:
        """Stop what still runs, then supervisord itself; returns when its process is gone."""
        pid = self._call("getPID")
        self._call("shutdown")
        deadline = time.monotonic() + deadline_seconds
        while time.monotonic() < deadline:
            if self._child is not None:
                self._child.poll()
            if not _exists(pid) and not self._is_listening():
                return
            time.sleep(0.05)
        raise SupervisorFailed(f"supervisord (pid {pid}) does not stop")

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def render_config(processes: Sequence[Process], *, home: Path, port: int, password: str, folder: Path) -> str:
    """Render supervisord's configuration: nothing starts by itself, everything restarts when it dies.

    Logs are relative to where supervisord runs, `home`: it expands percent signs in their paths twice.
    """
    lines = [
        "[supervisord]",
        f"identifier={_escape(str(home))}",
        "logfile=logs/supervisor.log",
        "logfile_maxbytes=5MB",
        "logfile_backups=2",
        "pidfile=supervisor.pid",
        "childlogdir=logs",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[inet_http_server]",
        f"port=127.0.0.1:{port}",
        f"username={USERNAME}",
        f"password={_escape(password)}",
    ]
    for priority, process in enumerate(processes, start=1):
        environment = ",".join(_quote(name, value) for name, value in sorted(process.environment.items()))
        lines += [
            f"[program:{process.name}]",
            f"command={_escape(shlex.join(process.command))}",
            f"directory={_escape(str(folder))}",
            f"environment={_escape(environment)}",
            f"priority={priority}",
            "autostart=false",
            "autorestart=true",
            "startsecs=5",
            "startretries=30",
            f"stopsignal={process.stop_signal}",
            f"stopwaitsecs={process.stop_seconds}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile=logs/{process.name}.log",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=3",
        ]
    return "\n".join(lines) + "\n"


def _quote(name: str, value: str) -> str:
    """A variable as supervisord reads it.

    Raises:
        SupervisorFailed: it cannot hold this value.
    """
    quote = "'" if '"' in value else '"'
    if quote in value or "\n" in value:
        raise SupervisorFailed(f"{name} may not hold line breaks, nor both kinds of quotation marks")
    return f"{name}={quote}{value}{quote}"


def _escape(value: str) -> str:
    return value.replace("%", "%%")
