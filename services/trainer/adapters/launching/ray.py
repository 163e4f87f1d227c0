"""An existing Ray cluster, through its Jobs API: no Ray is installed beside the worker.

The job's driver (`ray_driver.py`) has Ray Train start one worker on each machine.
"""

import json
import os
import re
import shlex
from typing import Any

import httpx

from services.trainer.adapters.launching.http_calls import call, open_client
from services.trainer.domain.launching.endings import LOST_PEER, LauncherUnavailable, QuotaReached, RemoteRun, State
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Ray

STATES: dict[str, State] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "STOPPED": "cancelled",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
}
LOST = 76
"""The driver's exit status when Ray lost a machine or a worker."""
LOST_WORDS = ("supervisor actor died", "node died", "worker died", "unexpectedly died", "was killed")
LOG_CHARACTERS = 4000
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SNIPPET, TRACE = ", last available logs", "Error in training function"
"""Where Ray's own words on a failure begin: a copy of the log, and the driver's side of what a machine said."""


class RayLauncher:
    def __init__(self, settings: Ray, token: str | None) -> None:
        """`token`: of a cluster that asks for one (RAY_AUTH_TOKEN)."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = open_client(settings.url, headers=headers)
        self._url, self._settings = settings.url.rstrip("/"), settings

    def start(self, order: LaunchOrder) -> str:
        if self._load(order.name) is not None:
            return order.name
        self._check_room(order)
        ours = self._settings
        content = {"nodes": order.nodes, "cpus": ours.cpus, "gpus": ours.gpus, "command": ours.command}
        resources = json.dumps(content)
        limit = ("timeout", "--foreground", "--signal=KILL", str(order.max_seconds))
        body = {
            "submission_id": order.name,
            "entrypoint": shlex.join([*limit, *ours.driver, resources, *order.arguments]),
            "runtime_env": {"env_vars": dict(order.environment)},
            "metadata": {"heliotrope_run": order.name},
        }
        try:
            self._call("POST", "/api/jobs/", body)
        except LauncherUnavailable:
            if self._load(order.name) is None:  # Ray answers 500 for a job of that name, too
                raise
        return order.name

    def look(self, handle: str) -> RemoteRun:
        job = self._load(handle)
        if job is None:
            return RemoteRun("gone")
        message = str(job.get("message") or "")
        state, status = STATES.get(str(job.get("status")), "running"), job.get("driver_exit_code")
        is_lost = status in (LOST, -9, -15) or any(words in message.lower() for words in LOST_WORDS)
        if state == "failed" and is_lost:
            state = "evicted"
        if state == "failed" and status == LOST_PEER:
            state = "lost"
        words = COLOURS.sub("", message).partition(SNIPPET)[0]
        return RemoteRun(state, words[:300], f"{self._url}/#/jobs/{handle}")

    def read_log(self, handle: str) -> str:
        response = self._call("GET", f"/api/jobs/{handle}/logs")
        return "" if response.status_code == 404 else choose_words(str(response.json().get("logs") or ""))

    def cancel(self, handle: str) -> None:
        self._call("POST", f"/api/jobs/{handle}/stop")

    def _check_room(self, order: LaunchOrder) -> None:
        """Raises: QuotaReached: all machines together have fewer free CPUs or GPUs than the run needs."""
        free = self._count_free()
        for name, each in (("CPU", self._settings.cpus), ("GPU", float(self._settings.gpus))):
            wanted = each * order.nodes
            if free is not None and wanted > free.get(name, 0.0):
                raise QuotaReached(f"{wanted:g} {name}s are wanted, and {free.get(name, 0.0):g} are free")

    def _count_free(self) -> dict[str, float] | None:
        """Count what is free on all machines; None where this Ray does not say."""
        response = self._call("GET", "/api/cluster_status")
        usage = response.json().get("data", {}).get("clusterStatus") if response.is_success else None
        report = (usage or {}).get("loadMetricsReport") or {}
        if "usage" not in report:
            return None
        return {name: total - used for name, (used, total) in report["usage"].items()}

    def _load(self, handle: str) -> dict[str, Any] | None:
        response = self._call("GET", f"/api/jobs/{handle}")
        return None if response.status_code == 404 else dict(response.json())

    def _call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return call(self._client, method, path, body=body)


def choose_words(log: str) -> str:
    """Choose the end of what the training itself wrote: Ray's tracebacks behind it say only that it failed."""
    plain = COLOURS.sub("", log)
    own, trace, _ = plain.partition(TRACE)
    if trace:
        own = own.rpartition("\n")[0]  # the trace's line begins with whose it is
    return (own or plain)[-LOG_CHARACTERS:]


def read_token() -> str | None:
    """Read the token of a Ray cluster that asks for one, where Ray's own tools look for it."""
    return os.environ.get("RAY_AUTH_TOKEN") or None
