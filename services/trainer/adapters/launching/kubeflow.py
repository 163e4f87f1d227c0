"""Kubeflow Trainer's TrainJob: its controller makes the pods, and tells each its place in torchrun's words."""

from typing import Any

from services.trainer.adapters.launching import pods
from services.trainer.adapters.launching.kubernetes_api import KubernetesApi
from services.trainer.domain.launching.endings import LauncherRefused, RemoteRun
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Kubeflow

API, KIND = "trainer.kubeflow.org/v1alpha1", "trainjobs"


class KubeflowLauncher:
    def __init__(self, api: KubernetesApi, settings: Kubeflow) -> None:
        self._api, self._settings = api, settings

    def start(self, order: LaunchOrder) -> str:
        try:
            self._api.create(API, KIND, make_train_job(order, self._settings))
        except LauncherRefused as error:
            if "404" in error.detail:
                raise LauncherRefused("the cluster knows no TrainJob: Kubeflow Trainer is not installed") from error
            raise
        return order.name

    def look(self, handle: str) -> RemoteRun:
        job = self._api.load(API, KIND, handle)
        if job is None:
            return RemoteRun("cancelled", pods.DELETED)
        if pods.find_condition(job, "Complete"):
            return RemoteRun("succeeded")
        found = self._api.list_pods(_select(handle))
        if failure := pods.find_condition(job, "Failed"):
            expected = int(job["spec"]["trainer"]["numNodes"])
            return pods.judge_failure(found, expected, pods.describe_condition(failure))
        is_running = any(pod.get("status", {}).get("phase") == "Running" for pod in found)
        return RemoteRun("running") if is_running else RemoteRun("pending", pods.explain_waiting(job, found))

    def read_log(self, handle: str) -> str:
        pod = pods.choose_log(self._api.list_pods(_select(handle)))
        return self._api.read_log(pod, pods.LOG_LINES) if pod else ""

    def cancel(self, handle: str) -> None:
        self._api.delete(API, KIND, handle)
        self._api.delete_pods(_select(handle))


def _select(handle: str) -> str:
    return f"jobset.sigs.k8s.io/jobset-name={handle}"


def make_train_job(order: LaunchOrder, settings: Kubeflow) -> dict[str, Any]:
    """Make the TrainJob over the cluster's runtime."""
    volumes, mounts = pods.make_volumes(settings)
    environment: list[dict[str, Any]] = [*pods.make_environment(order)]
    trainer = {
        "numNodes": order.nodes,
        "image": settings.image,
        "command": pods.make_command(order, settings),
        "env": environment,
        "resourcesPerNode": pods.make_resources(settings),
    }
    override = {
        "targetJobs": [{"name": pods.CONTAINER}],
        "spec": {
            "volumes": volumes,
            "containers": [{"name": pods.CONTAINER, "volumeMounts": mounts}],
            **pods.make_placement(settings),
        },
    }
    return {
        "apiVersion": API,
        "kind": "TrainJob",
        "metadata": {"name": order.name, "labels": pods.make_labels(settings)},
        "spec": {
            "runtimeRef": {"name": settings.runtime},
            "trainer": trainer,
            "podTemplateOverrides": [override],
        },
    }
