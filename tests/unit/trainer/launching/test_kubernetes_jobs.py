"""The Job that a run becomes in a Kubernetes cluster."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.trainer.adapters.launching.kubeflow import KubeflowLauncher
from services.trainer.adapters.launching.kubernetes import KubernetesLauncher, make_job
from services.trainer.adapters.launching.pods import explain_waiting, judge_failure
from services.trainer.domain.launching.endings import RemoteRun
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Kubernetes


def test_its_pods_are_admitted_where_the_restricted_standard_is_enforced() -> None:
    job = make_job(LaunchOrder(name="run-1", arguments=("train",)), Kubernetes(image="heliotrope"))
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert all("emptyDir" in volume for volume in pod["volumes"])


def make_pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "run-1-0"}, "status": status}


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([], "ResourceQuota"),
        (
            [
                make_pod(),
                make_pod(
                    conditions=[
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                        }
                    ]
                ),
            ],
            "Insufficient nvidia.com/gpu",
        ),
        ([make_pod(containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff"}}}])], "ImagePullBackOff"),
    ],
    ids=["no pods", "no GPU", "no image"],
)
def test_what_pods_wait_for_is_told(pods: list[dict[str, Any]], words: str) -> None:
    assert words in explain_waiting({"spec": {}}, pods)


@pytest.mark.parametrize("launcher", [KubernetesLauncher, KubeflowLauncher], ids=["Job", "TrainJob"])
def test_a_job_that_kueue_suspended_waits_in_its_queue(launcher: Any) -> None:
    """Kueue holds a job back by `suspend`, and makes it no pods."""
    api = SimpleNamespace(load=lambda *_: {"spec": {"suspend": True}, "status": {}}, list_pods=lambda _: [])
    assert launcher(api, None).look("run-1") == RemoteRun("pending", "suspended: waits in its queue")


@pytest.mark.parametrize(
    ("codes", "state"), [((75, 75), "lost"), ((75, 137), "evicted"), ((1, 75), "failed"), ((75,), "evicted")]
)
def test_pods_that_only_missed_each_other_are_lost_and_not_failed(codes: tuple[int, ...], state: str) -> None:
    pods = [make_pod(containerStatuses=[{"state": {"terminated": {"exitCode": code}}}]) for code in codes]
    assert judge_failure(pods, 2, "BackoffLimitExceeded").state == state
