"""The Job that a run becomes in a Kubernetes cluster."""

from services.trainer.adapters.launching.kubernetes import make_job
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Kubernetes


def test_its_pods_are_admitted_where_the_restricted_standard_is_enforced() -> None:
    job = make_job(LaunchOrder(name="run-1", arguments=("train",)), Kubernetes(image="heliotrope"))
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert all("emptyDir" in volume for volume in pod["volumes"])
