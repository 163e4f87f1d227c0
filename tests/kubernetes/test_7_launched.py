"""The loop's trainings as TrainJobs of Kubeflow Trainer: the worker asks for them by its own account's rights."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.cluster import HERE, STORES, apply, ask, find_ended_run, is_there, kubectl, say, wait_for
from tests.kubernetes.conftest import PASSWORD
from tests.kubernetes.manual import run_line, upgrade
from tests.launchers.runtimes import read_runtime

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3600)]

TRAINING = "training"
LOGIN = {
    "AWS_ACCESS_KEY_ID": "heliotrope",
    "AWS_SECRET_ACCESS_KEY": PASSWORD,
    "AWS_ENDPOINT_URL": f"http://objects.{STORES}:9000",
}


def find_api_port() -> int:
    """Find the port that the API server itself listens on: what a policy of the worker must name."""
    slices = json.loads(kubectl("get", "endpointslices", "-o", "json", namespace="default"))["items"]
    (found,) = [each for each in slices if each["metadata"]["labels"]["kubernetes.io/service-name"] == "kubernetes"]
    return int(found["ports"][0]["port"])


@pytest.fixture
def training() -> None:
    """A namespace for trainings that enforces `restricted`, and the runtime of docs/launchers.md."""
    if not is_there("crd", "trainjobs.trainer.kubeflow.org"):
        pytest.skip("NOT SHOWN: the cluster has no Kubeflow Trainer")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TRAINING, "labels": labels}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "objects"}, "stringData": LOGIN}
    apply(secret, namespace=TRAINING)
    apply(read_runtime("heliotrope", with_secret=True))


def list_train_jobs() -> set[str]:
    return set(kubectl("get", "trainjobs", "-o", "name", namespace=TRAINING).split())


def test_a_request_becomes_a_train_job_and_its_candidate_comes_home(
    release: dict[str, str], training: None, workplace: Path, tools: dict[str, str]
):
    ports = f"--set 'networkPolicy.egress.apiServerPorts={{{find_api_port()}}}'"
    run_line(upgrade(f"-f {HERE / 'launched.yaml'}", ports), workplace, tools)
    body = {"reason": "a drill", "force": True}
    request_id = ask("curator:8003", "/v1/retrain", release["admin"], body)["request_id"]
    seen: set[str] = set()

    def has_ended() -> dict[str, Any] | None:
        seen.update(list_train_jobs())
        return find_ended_run(release, request_id)

    run = wait_for(has_ended, "the end of the run", seconds=900)
    say(f"{sorted(seen)}: {run['state']} {run['reason']}")
    assert run["state"] == "succeeded"
    assert seen == {f"trainjob.trainer.kubeflow.org/{run['remote']['handle']}"}
    run_line(upgrade(), workplace, tools)
