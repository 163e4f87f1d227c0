"""A plain Kubernetes Job; for several machines an indexed one whose pods find each other through a headless Service."""

from typing import Any

from services.trainer.adapters.launching import pods
from services.trainer.adapters.launching.kubernetes_api import KubernetesApi
from services.trainer.domain.launching.endings import RemoteRun
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Kubernetes
from services.trainer.domain.planning.places import PORT

BATCH = "batch/v1"
KEPT_SECONDS = 24 * 3600
"""A job that is over stays this long, for people and its log."""


class KubernetesLauncher:
    def __init__(self, api: KubernetesApi, settings: Kubernetes) -> None:
        self._api, self._settings = api, settings

    def start(self, order: LaunchOrder) -> str:
        if order.nodes > 1:
            self._api.create("v1", "services", make_service(order))
        self._api.create(BATCH, "jobs", make_job(order, self._settings))
        return order.name

    def look(self, handle: str) -> RemoteRun:
        job = self._api.load(BATCH, "jobs", handle)
        if job is None:
            return RemoteRun("cancelled", pods.DELETED)
        if pods.find_condition(job, "Complete", "SuccessCriteriaMet"):
            return RemoteRun("succeeded")
        found = self._api.list_pods(_select(handle))
        if failure := pods.find_condition(job, "Failed", "FailureTarget"):
            return pods.judge_failure(found, int(job["spec"]["completions"]), pods.describe_condition(failure))
        is_running = any(pod.get("status", {}).get("phase") == "Running" for pod in found)
        return RemoteRun("running") if is_running else RemoteRun("pending", pods.explain_waiting(job, found))

    def read_log(self, handle: str) -> str:
        pod = pods.choose_log(self._api.list_pods(_select(handle)))
        return self._api.read_log(pod, pods.LOG_LINES) if pod else ""

    def cancel(self, handle: str) -> None:
        self._api.delete(BATCH, "jobs", handle)
        self._api.delete_pods(_select(handle))
        self._api.delete("v1", "services", handle)


def _select(handle: str) -> str:
    return f"batch.kubernetes.io/job-name={handle}"


def make_service(order: LaunchOrder) -> dict[str, Any]:
    """Make the Service by which the pods of an indexed Job have names, before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": order.name, "labels": {"app.kubernetes.io/managed-by": "heliotrope"}},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": order.name},
            "ports": [{"name": "torch", "port": PORT}],
        },
    }


def make_job(order: LaunchOrder, settings: Kubernetes) -> dict[str, Any]:
    """Make the Job. Kubernetes starts no pod again: an attempt that lost one begins anew, on all machines."""
    volumes, mounts = pods.make_volumes(settings)
    environment: list[dict[str, Any]] = [*pods.make_environment(order)]
    if order.nodes > 1:
        address = f"{order.name}-0.{order.name}"
        environment += [
            {"name": "HELIOTROPE_NODES", "value": str(order.nodes)},
            {"name": "HELIOTROPE_NODE_ADDRESS", "value": address},
        ]
    container = {
        "name": pods.CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": pods.make_command(order, settings),
        "env": environment,
        "envFrom": [{"secretRef": {"name": name}} for name in settings.secrets],
        "resources": pods.make_resources(settings),
        "volumeMounts": mounts,
        "securityContext": pods.CONTAINER_SECURITY,
    }
    pod = {
        "securityContext": pods.POD_SECURITY,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": pods.GRACE_SECONDS,
        "containers": [container],
        "volumes": volumes,
        **pods.make_placement(settings),
        **({"subdomain": order.name} if order.nodes > 1 else {}),
    }
    labels = {"app.kubernetes.io/managed-by": "heliotrope", "heliotrope/run": order.name}
    return {
        "apiVersion": BATCH,
        "kind": "Job",
        "metadata": {"name": order.name, "labels": labels | pods.make_labels(settings)},
        "spec": {
            "completions": order.nodes,
            "parallelism": order.nodes,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "activeDeadlineSeconds": order.max_seconds + 300,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
