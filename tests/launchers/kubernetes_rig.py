"""Kubernetes and Kubeflow's TrainJob: a server that answers as their API references document, over TLS-less HTTP."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlparse

from services.trainer.adapters.launching.kubeflow import KubeflowLauncher
from services.trainer.adapters.launching.kubernetes import KubernetesLauncher
from services.trainer.adapters.launching.kubernetes_api import KubernetesApi, read_kubeconfig
from services.trainer.domain.launching.settings import Kubeflow, Kubernetes
from services.trainer.ports import Launcher
from tests.launchers.played import Container, Handler, Platform, serve

NAMESPACE, TOKEN = "training", "pod-token"
PATH = re.compile(r"/(?:api|apis)/(?P<api>.+)/namespaces/training/(?P<kind>[a-z]+)(?:/(?P<name>[^/?]+))?(?P<log>/log)?")
Objects = dict[tuple[str, str], dict[str, Any]]
Engine = Literal["kubernetes", "kubeflow"]


def make_handler(platform: Platform, objects: Objects) -> type[Handler]:
    class KubernetesHandler(Handler):
        def respond(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, refuse(401, "Unauthorized", "Unauthorized")
            found = PATH.fullmatch(urlparse(path).path)
            assert found, path
            kind, name = found["kind"], found["name"]
            if kind == "pods":
                return answer_about_pods(platform, objects, method, path, name, is_log=bool(found["log"]))
            if method == "POST":
                return create(platform, objects, kind, json.loads(body))
            if (kind, name) not in objects:
                return 404, refuse(404, "NotFound", f"{kind} {name} not found")
            if method == "DELETE":
                platform.stop(name) if name in platform.containers else None
                del objects[kind, name]
                return 200, {"kind": "Status", "status": "Success"}
            return 200, describe(platform, objects[kind, name])

    return KubernetesHandler


def refuse(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def create(platform: Platform, objects: Objects, kind: str, content: dict[str, Any]) -> tuple[int, Any]:
    name = content["metadata"]["name"]
    if platform.is_full and kind != "services":
        message = f'{kind} "{name}" is forbidden: exceeded quota: gpus, requested: count/jobs=1, used: 4, limited: 4'
        return 403, refuse(403, "Forbidden", message)
    if (kind, name) in objects:
        return 409, refuse(409, "AlreadyExists", f"{kind} {name} already exists")
    objects[kind, name] = content
    if kind == "jobs":
        start_job(platform, content)
    if kind == "trainjobs":
        start_train_job(platform, content)
    return 201, content


def start_job(platform: Platform, job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["completionMode"]) == (0, "Indexed")
    container = spec["template"]["spec"]["containers"][0]
    places = [{"JOB_COMPLETION_INDEX": str(index)} for index in range(spec["completions"])]
    launch(platform, job["metadata"]["name"], container["command"], container["env"], places)


def start_train_job(platform: Platform, job: dict[str, Any]) -> None:
    trainer = job["spec"]["trainer"]
    nodes = trainer["numNodes"]
    shared = {"PET_NNODES": str(nodes), "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": "29400"}
    places = [shared | {"PET_NODE_RANK": str(rank)} for rank in range(nodes)]
    launch(platform, job["metadata"]["name"], trainer["command"], trainer["env"], places)


def launch(
    platform: Platform, name: str, command: list[str], environment: list[dict[str, str]], places: list[dict[str, str]]
) -> None:
    assert command[:2] == ["timeout", "--signal=KILL"]
    assert command[3] == "heliotrope"
    platform.launch(name, command[4:], places, **{entry["name"]: entry["value"] for entry in environment})


def describe(platform: Platform, job: dict[str, Any]) -> dict[str, Any]:
    container = platform.containers.get(job["metadata"]["name"])
    if container is None:
        return job
    kinds = {"succeeded": "Complete", "failed": "Failed", "taken": "Failed"}
    if container.state not in kinds:
        return job
    words = {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}
    return job | {"status": {"conditions": [{"type": kinds[container.state], "status": "True", **words}]}}


def answer_about_pods(
    platform: Platform, objects: Objects, method: str, path: str, name: str | None, *, is_log: bool
) -> tuple[int, Any]:
    if is_log and name is not None:
        return 200, platform.containers[name.rpartition("-")[0]].log.read_bytes()
    job = unquote(urlparse(path).query).partition("=")[2].partition("=")[2]
    container = platform.containers.get(job)
    if method == "DELETE" or container is None or not any(known[1] == job for known in objects):
        return 200, {"items": []}
    return 200, {"items": [describe_pod(job, index, container) for index in range(len(container.processes))]}


def describe_pod(job: str, index: int, container: Container) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Running"}
    code = container.list_statuses()[index]
    if container.state == "taken":
        disruption = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "drain",
        }
        status = {"phase": "Failed", "conditions": [disruption]}
    elif code is not None:
        terminated = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"state": {"terminated": terminated}}],
        }
    return {"metadata": {"name": f"{job}-{index}"}, "status": status}


class KubernetesRig:
    def __init__(self, platform: Platform, url: str, engine: Engine) -> None:
        self.nodes, self._platform, self._url, self._engine = 2, platform, url, engine
        self.launcher: Launcher = self._make(TOKEN)

    def _make(self, token: str) -> Launcher:
        """Through a kubeconfig, as a worker outside of the cluster would."""
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "played", "user": "trainer"}}],
            "clusters": [{"name": "played", "cluster": {"server": self._url}}],
            "users": [{"name": "trainer", "user": {"token": token}}],
        }
        api = KubernetesApi(read_kubeconfig(config), NAMESPACE)
        if self._engine == "kubeflow":
            return KubeflowLauncher(api, Kubeflow(image="heliotrope:gpu", namespace=NAMESPACE))
        return KubernetesLauncher(api, Kubernetes(image="heliotrope:gpu", namespace=NAMESPACE))

    def evict(self, handle: str) -> None:
        self._platform.take(handle)

    def make_denied(self) -> Launcher:
        return self._make("stranger")

    @contextmanager
    def fill(self) -> Iterator[None]:
        self._platform.is_full = True
        yield
        self._platform.is_full = False


@contextmanager
def serve_kubernetes(folder: Path, engine: Engine) -> Iterator[KubernetesRig]:
    platform, objects = Platform(folder), Objects()
    with serve(make_handler(platform, objects)) as url:
        yield KubernetesRig(platform, url, engine)
        platform.close()
