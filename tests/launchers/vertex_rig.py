"""Vertex AI: a server that answers as its REST reference documents, with Google's own login in front."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from services.trainer.adapters.launching.vertex import VertexLauncher
from services.trainer.domain.launching.settings import Vertex
from services.trainer.ports import Launcher
from tests.launchers.played import Container, Handler, Platform, serve

PARENT = "projects/acme/locations/europe-west4"
TOKEN, ACCOUNT = "ya29.test", "trainer@acme.iam.gserviceaccount.com"
STATES: dict[str, tuple[str, dict[str, Any] | None]] = {
    "running": ("JOB_STATE_RUNNING", None),
    "succeeded": ("JOB_STATE_SUCCEEDED", None),
    "failed": ("JOB_STATE_FAILED", {"code": 9, "message": "The replica workerpool0-0 exited with status 3."}),
    "taken": ("JOB_STATE_FAILED", {"code": 10, "message": "The job was preempted: a Spot VM was reclaimed."}),
    "stopped": ("JOB_STATE_CANCELLED", {"code": 1, "message": "CANCELED"}),
}  # fmt: skip
FULL = {
    "error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "The following quota metrics exceed quota limits"}
}
STRANGER = {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "Request had invalid credentials."}}
SPEC_FIELDS = {"workerPoolSpecs", "scheduling", "serviceAccount", "network", "baseOutputDirectory", "labels"}


def make_handler(platform: Platform, jobs: dict[str, dict[str, Any]]) -> type[Handler]:
    class VertexHandler(Handler):
        def respond(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
            where = urlparse(path)
            if where.path == "/token":
                return give_token(body)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, STRANGER
            content = json.loads(body) if body else {}
            if where.path == "/v2/entries:list":
                return 200, list_entries(platform, jobs, content)
            name = where.path.removeprefix("/v1/")
            if name == f"{PARENT}/customJobs":
                return create(platform, jobs, content) if method == "POST" else find(platform, jobs, where.query)
            if method == "POST" and name.removesuffix(":cancel") in jobs:
                platform.stop(jobs[name.removesuffix(":cancel")]["displayName"])
                return 200, {}
            if name in jobs:
                return 200, describe(platform, jobs[name])
            return 404, {"error": {"code": 404, "status": "NOT_FOUND", "message": "CustomJob does not exist."}}

    return VertexHandler


def give_token(body: bytes) -> tuple[int, Any]:
    """Give a token for an assertion that the right account signed (its claims are read, the signature is Google's)."""
    assertion = parse_qs(body.decode())["assertion"][0].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(assertion + "=="))
    if claims["iss"] != ACCOUNT:
        return 400, {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}
    return 200, {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}


def create(platform: Platform, jobs: dict[str, dict[str, Any]], content: dict[str, Any]) -> tuple[int, Any]:
    if platform.is_full:
        return 429, FULL
    assert set(content) == {"displayName", "labels", "jobSpec"}
    spec = content["jobSpec"]
    assert set(spec) <= SPEC_FIELDS
    assert spec["scheduling"]["timeout"].endswith("s")
    pools = spec["workerPoolSpecs"]
    assert all(pool["machineSpec"]["machineType"] and isinstance(pool["replicaCount"], str) for pool in pools)
    assert pools[0]["replicaCount"] == "1"  # Vertex refuses more in the first pool
    name = f"{PARENT}/customJobs/{len(jobs) + 1:019d}"
    jobs[name] = content | {"name": name, "createTime": "2026-11-28T08:00:00Z"}
    container = pools[0]["containerSpec"]
    assert container["command"] == ["heliotrope"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    platform.launch(content["displayName"], container["args"], place(pools), **environment)
    return 200, describe(platform, jobs[name])


def place(pools: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What Vertex puts into each replica's environment."""
    counts = [int(pool["replicaCount"]) for pool in pools]
    cluster = {f"workerpool{pool}": ["127.0.0.1:2222"] * count for pool, count in enumerate(counts)}
    tasks = [
        {"type": f"workerpool{pool}", "index": index} for pool, count in enumerate(counts) for index in range(count)
    ]
    return [{"CLUSTER_SPEC": json.dumps({"cluster": cluster, "task": task})} for task in tasks]


def find(platform: Platform, jobs: dict[str, dict[str, Any]], query: str) -> tuple[int, Any]:
    wanted = unquote(parse_qs(query)["filter"][0]).partition("=")[2].strip('"')
    found = [describe(platform, job) for job in jobs.values() if job["displayName"] == wanted]
    return 200, {"customJobs": found} if found else {}


def describe(platform: Platform, job: dict[str, Any]) -> dict[str, Any]:
    container: Container = platform.containers[job["displayName"]]
    state, error = STATES[container.state]
    return job | {"state": state} | ({"error": error} if error else {})


def list_entries(platform: Platform, jobs: dict[str, dict[str, Any]], content: dict[str, Any]) -> dict[str, Any]:
    number = content["filter"].rpartition("=")[2].strip('"')
    job = next(job for name, job in jobs.items() if name.endswith(f"/{number}"))
    lines = platform.containers[job["displayName"]].log.read_text().splitlines()
    return {"entries": [{"jsonPayload": {"message": line}} for line in reversed(lines)]}


class VertexRig:
    def __init__(self, platform: Platform, jobs: dict[str, dict[str, Any]], url: str, folder: Path) -> None:
        self.nodes, self._platform, self._jobs, self._folder, self._url = 2, platform, jobs, folder, url
        self.settings = Vertex(
            project="acme",
            region="europe-west4",
            image="europe-docker.pkg.dev/acme/heliotrope/gpu:1",
            machine_type="a3-highgpu-8g",
            accelerator="NVIDIA_H100_80GB",
            accelerators=8,
            spot=True,
            endpoint=url,
        )
        self.launcher: Launcher = VertexLauncher(self.settings, self._make_credentials(ACCOUNT))

    def _make_credentials(self, account: str) -> Any:
        """Google's own class over a key of our own, whose token server is the played one."""
        from google.oauth2.service_account import Credentials

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        info = {
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "1",
            "private_key": key.decode(),
            "client_email": account,
            "token_uri": f"{self._url}/token",
        }
        return Credentials.from_service_account_info(info, scopes=["https://www.googleapis.com/auth/cloud-platform"])

    def evict(self, handle: str) -> None:
        self._platform.take(self._jobs[handle]["displayName"])

    def make_denied(self) -> Launcher:
        return VertexLauncher(self.settings, self._make_credentials("stranger@acme.iam.gserviceaccount.com"))

    @contextmanager
    def fill(self) -> Iterator[None]:
        self._platform.is_full = True
        yield
        self._platform.is_full = False


@contextmanager
def serve_vertex(folder: Path) -> Iterator[VertexRig]:
    platform, jobs = Platform(folder), dict[str, dict[str, Any]]()
    with serve(make_handler(platform, jobs)) as url:
        yield VertexRig(platform, jobs, url, folder)
        platform.close()
