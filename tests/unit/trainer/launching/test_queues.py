"""Kueue's queue, which a job names and its pods do not."""

from collections.abc import Callable
from typing import Any

import pytest

from services.trainer.adapters.launching.kubeflow import make_train_job
from services.trainer.adapters.launching.kubernetes import make_job
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Kubeflow, Kubernetes, Pods

ORDER = LaunchOrder(name="run-1", arguments=("train",))
QUEUE = "kueue.x-k8s.io/queue-name"


@pytest.mark.parametrize(
    ("make", "engine"), [(make_job, Kubernetes), (make_train_job, Kubeflow)], ids=["Job", "TrainJob"]
)
def test_a_job_names_its_queue_if_it_has_one(
    make: Callable[[LaunchOrder, Any], dict[str, Any]], engine: type[Pods]
) -> None:
    queued, other = make(ORDER, engine(image="x", queue="gpus")), make(ORDER, engine(image="x"))
    assert queued["metadata"]["labels"][QUEUE] == "gpus"
    assert QUEUE not in other["metadata"]["labels"]
    assert queued["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "heliotrope"
    assert QUEUE not in queued["spec"].get("template", {}).get("metadata", {}).get("labels", {})
