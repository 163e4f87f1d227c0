"""Google Vertex AI custom jobs, by its REST API, as whoever Application Default Credentials say this process is."""

from typing import Any

import httpx

from services.trainer.adapters.launching.http_calls import call, open_client
from services.trainer.domain.launching.endings import LOST_PEER, LauncherDenied, LauncherUnavailable, RemoteRun, State
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Vertex

STATES: dict[str, State] = {
    "JOB_STATE_QUEUED": "pending",
    "JOB_STATE_PENDING": "pending",
    "JOB_STATE_RUNNING": "running",
    "JOB_STATE_CANCELLING": "running",
    "JOB_STATE_SUCCEEDED": "succeeded",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_CANCELLED": "cancelled",
    "JOB_STATE_EXPIRED": "failed",
}
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EVICTED_CODES = (10, 14)
"""ABORTED and UNAVAILABLE of google.rpc.Code: machines were taken away."""
EVICTED_WORDS = (
    "preempt",
    "internal error",
    "stockout",
    "insufficient resources",
    "not enough resources",
)
LOG_ENTRIES = 60
ENDED = ("succeeded", "failed", "cancelled")


class VertexLauncher:
    def __init__(self, settings: Vertex, credentials: Any = None) -> None:
        """`credentials`: google-auth's, by default the environment's, which are looked for when they are needed."""
        endpoint = settings.endpoint or f"https://{settings.region}-aiplatform.googleapis.com"
        self._client = open_client(endpoint)
        self._logs = open_client(settings.endpoint or "https://logging.googleapis.com")
        self._settings, self._credentials = settings, credentials
        self._parent = f"projects/{settings.project}/locations/{settings.region}"

    def start(self, order: LaunchOrder) -> str:
        if found := self._find(order.name):
            return found
        response = self._call("POST", f"/v1/{self._parent}/customJobs", make_job(order, self._settings))
        return str(response.json()["name"])

    def look(self, handle: str) -> RemoteRun:
        response = self._call("GET", f"/v1/{handle}")
        if response.status_code == 404:
            return RemoteRun("gone")
        job = response.json()
        state, error = STATES.get(job["state"], "running"), job.get("error") or {}
        words = str(error.get("message") or "")
        taken = error.get("code") in EVICTED_CODES or any(word in words.lower() for word in EVICTED_WORDS)
        if state == "failed" and taken:
            state = "evicted"
        if state == "failed" and f"status of {LOST_PEER}" in words:
            state = "lost"
        return RemoteRun(state, words[:300], self._locate_page(handle))

    def read_log(self, handle: str) -> str:
        job = handle.rpartition("/")[2]
        body = {
            "resourceNames": [f"projects/{self._settings.project}"],
            "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job}"',
            "orderBy": "timestamp desc",
            "pageSize": LOG_ENTRIES,
        }
        try:
            response = call(self._logs, "POST", "/v2/entries:list", body=body, headers=self._write_headers())
        except LauncherDenied:  # the account may lack the right to read logs: the run's end is known
            return ""
        entries = response.json().get("entries", []) if response.is_success else []
        return "\n".join(_read_entry(entry) for entry in reversed(entries))

    def cancel(self, handle: str) -> None:
        found = handle if "/" in handle else self._find(handle)
        if found is None:
            return
        handle = found
        if self.look(handle).state not in ("gone", *ENDED):
            self._call("POST", f"/v1/{handle}:cancel", {})

    def _find(self, name: str) -> str | None:
        """Find the job of that name: names are not unique at Vertex."""
        path = f'/v1/{self._parent}/customJobs?filter=displayName="{name}"'
        jobs = self._call("GET", path).json().get("customJobs", [])
        return str(jobs[0]["name"]) if jobs else None

    def _call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return call(self._client, method, path, body=body, headers=self._write_headers())

    def _write_headers(self) -> dict[str, str]:
        """Write the account's token, fetched anew before it expires. Raises: LauncherDenied, LauncherUnavailable."""
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        try:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
            if not self._credentials.valid:
                self._credentials.refresh(Request())
            return {"Authorization": f"Bearer {self._credentials.token}"}
        except TransportError as error:
            raise LauncherUnavailable(f"Google's token server does not answer: {error}") from error
        except (DefaultCredentialsError, GoogleAuthError) as error:
            raise LauncherDenied(f"no Google credentials: {error}"[:300]) from error

    def _locate_page(self, handle: str) -> str:
        job = handle.rpartition("/")[2]
        where = f"locations/{self._settings.region}/training/{job}"
        return f"https://console.cloud.google.com/vertex-ai/{where}?project={self._settings.project}"


def _read_entry(entry: dict[str, Any]) -> str:
    return str(entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", ""))


def make_job(order: LaunchOrder, settings: Vertex) -> dict[str, Any]:
    """Make the CustomJob: the first machine is a pool of its own, as Vertex wants it."""
    machine: dict[str, Any] = {"machineType": settings.machine_type}
    if settings.accelerator:
        machine |= {"acceleratorType": settings.accelerator, "acceleratorCount": settings.accelerators}
    pool = {
        "machineSpec": machine,
        "containerSpec": {
            "imageUri": settings.image,
            "command": ["heliotrope"],
            "args": list(order.arguments),
            "env": [{"name": name, "value": value} for name, value in order.environment.items()],
        },
    }
    pools = [pool | {"replicaCount": "1"}]
    if order.nodes > 1:
        pools.append(pool | {"replicaCount": str(order.nodes - 1)})
    strategy = {"strategy": "SPOT"} if settings.spot else {}
    spec: dict[str, Any] = {
        "workerPoolSpecs": pools,
        "scheduling": {"timeout": f"{order.max_seconds}s", "restartJobOnWorkerRestart": False} | strategy,
    }
    if settings.service_account:
        spec["serviceAccount"] = settings.service_account
    if settings.network:
        spec["network"] = settings.network
    return {"displayName": order.name, "labels": {"managed-by": "heliotrope"}, "jobSpec": spec}
