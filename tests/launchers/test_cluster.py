"""The launchers in a real cluster: `KUBECONFIG`, and in `HELIOTROPE_TEST_IMAGE` an image there with a shell."""

import base64
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from services.trainer.adapters.launching.kubeflow import KIND, KubeflowLauncher
from services.trainer.adapters.launching.kubernetes import KubernetesLauncher
from services.trainer.adapters.launching.kubernetes_api import KubernetesApi, Login, find_login
from services.trainer.domain.launching.endings import LauncherDenied, LauncherRefused, QuotaReached
from services.trainer.domain.launching.orders import LaunchOrder, name_job
from services.trainer.domain.launching.settings import Kubeflow, Kubernetes
from services.trainer.ports import Launcher
from tests.launchers.runtimes import have_runtime

pytestmark = [pytest.mark.launchers, pytest.mark.timeout(600)]

SECONDS = 180.0
NODES = 2


class Cluster:
    """A namespace of its own in the cluster, and one engine there."""

    def __init__(self, api: KubernetesApi, engine: str, namespace: str, image: str) -> None:
        self.api, self._engine, self._namespace, self._image = api, engine, namespace, image
        self.started: list[str] = []

    def make(self, script: str, api: KubernetesApi | None = None) -> Launcher:
        """Make a launcher whose pods execute a shell script."""
        pod = {
            "image": self._image,
            "namespace": self._namespace,
            "command": ("sh", "-c", script),
            "cpu": "10m",
            "memory": "64Mi",
        }
        if self._engine == "kubeflow":
            return KubeflowLauncher(api or self.api, Kubeflow(**pod, runtime=self._namespace))  # type: ignore[arg-type]
        return KubernetesLauncher(api or self.api, Kubernetes(**pod))  # type: ignore[arg-type]

    def start(self, launcher: Launcher, number: int = 1) -> str:
        order = LaunchOrder(name=name_job(uuid4(), number), arguments=("train",), nodes=NODES, max_seconds=300)
        handle = launcher.start(order)
        assert launcher.start(order) == handle  # started once
        return handle

    def select(self, handle: str) -> str:
        label = "jobset.sigs.k8s.io/jobset-name" if self._engine == "kubeflow" else "batch.kubernetes.io/job-name"
        return f"{label}={handle}"


def wait(condition: Callable[[], object], words: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, words
        time.sleep(0.5)


def wait_for(launcher: Launcher, handle: str, state: str) -> None:
    wait(lambda: launcher.look(handle).state == state, f"not {state}")


@pytest.fixture(params=["kubernetes", "kubeflow"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    image = os.environ.get("HELIOTROPE_TEST_IMAGE")
    if "KUBECONFIG" not in os.environ or not image:
        pytest.skip("KUBECONFIG and HELIOTROPE_TEST_IMAGE name no cluster")
    namespace = f"heliotrope-launchers-{uuid4().hex[:8]}"
    api = KubernetesApi(find_login(), namespace)
    with have_runtime(api, namespace) if request.param == "kubeflow" else nullcontext():
        api._call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        yield Cluster(api, request.param, namespace, image)
        api._call("DELETE", f"/api/v1/namespaces/{namespace}")


def test_a_job_of_two_pods_runs_and_succeeds(cluster: Cluster):
    launcher = cluster.make("echo here I am; sleep 4")
    handle = cluster.start(launcher)
    wait_for(launcher, handle, "running")
    assert len(cluster.api.list_pods(cluster.select(handle))) == NODES
    wait_for(launcher, handle, "succeeded")
    assert "here I am" in launcher.read_log(handle)


def test_a_failing_pod_fails_the_job_and_its_log_is_read(cluster: Cluster):
    is_second = '[ "${JOB_COMPLETION_INDEX:-$PET_NODE_RANK}" = 1 ]'
    launcher = cluster.make(f"echo the disk is on fire; if {is_second}; then exit 3; fi; sleep 100")
    handle = cluster.start(launcher)
    wait_for(launcher, handle, "failed")
    assert "the disk is on fire" in launcher.read_log(handle)
    launcher.cancel(handle)


def test_a_pod_that_is_taken_away_is_an_eviction(cluster: Cluster):
    launcher = cluster.make("sleep 200")
    handle = cluster.start(launcher)
    wait(lambda: count_running(cluster, handle) == NODES, "both run")
    pod = cluster.api.list_pods(cluster.select(handle))[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    eviction["deleteOptions"] = {"gracePeriodSeconds": 1}
    cluster.api._call("POST", f"{cluster.api._locate('v1', 'pods')}/{pod}/eviction", eviction)
    wait_for(launcher, handle, "evicted")
    launcher.cancel(handle)


def test_a_cancelled_job_is_gone_with_its_pods_within_seconds(cluster: Cluster):
    launcher = cluster.make("trap '' TERM; sleep 200 & wait; sleep 200")
    handle = cluster.start(launcher)
    wait(lambda: count_running(cluster, handle) == NODES, "both run")
    began = time.monotonic()
    launcher.cancel(handle)
    wait(lambda: not cluster.api.list_pods(cluster.select(handle)), "no pods")
    assert time.monotonic() - began < 15
    assert launcher.look(handle).state == "cancelled"
    launcher.cancel(handle)


def test_strangers_are_denied(cluster: Cluster):
    login = Login(find_login().server, trust_the_cluster(), token="nobody")
    stranger = KubernetesApi(login, cluster._namespace)
    with pytest.raises(LauncherDenied):
        cluster.start(cluster.make("true", stranger))


def trust_the_cluster() -> ssl.SSLContext:
    """Whom we trust there, without the certificate that says who we are."""
    content = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    authority = content["clusters"][0]["cluster"]["certificate-authority-data"]
    return ssl.create_default_context(cadata=base64.b64decode(authority).decode())


def test_a_quota_of_the_namespace_is_told_from_a_refusal(cluster: Cluster):
    kind = "count/jobs.batch" if cluster._engine == "kubernetes" else f"count/{KIND}.trainer.kubeflow.org"
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {kind: "0"}}}
    cluster.api._call("POST", cluster.api._locate("v1", "resourcequotas"), quota)
    time.sleep(3.0)  # the controller must have counted
    with pytest.raises(QuotaReached, match="exceeded quota"):
        cluster.start(cluster.make("true"))


def test_a_name_that_makes_no_sense_is_refused(cluster: Cluster):
    launcher = cluster.make("true")
    order = LaunchOrder(name="Not-A-Name", arguments=("train",), nodes=NODES)
    with pytest.raises(LauncherRefused):
        launcher.start(order)


def count_running(cluster: Cluster, handle: str) -> int:
    return sum(pod["status"].get("phase") == "Running" for pod in cluster.api.list_pods(cluster.select(handle)))
