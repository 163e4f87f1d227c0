"""The runtime for TrainJobs that docs/launchers.md has its reader make, in a real cluster."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from services.trainer.adapters.launching.kubeflow import API
from services.trainer.adapters.launching.kubernetes_api import KubernetesApi
from tests.launchers.rigs import ROOT

RUNTIMES = f"/apis/{API}/clustertrainingruntimes"
BLOCK = re.compile(r"^```yaml\n(apiVersion: trainer.*?)^```$", re.MULTILINE | re.DOTALL)


def read_runtime(name: str, *, with_secret: bool) -> dict[str, Any]:
    """Read it from the manual, and give it a name of its own."""
    (block,) = BLOCK.findall((ROOT / "docs" / "launchers.md").read_text())
    runtime: dict[str, Any] = yaml.safe_load(block)
    runtime["metadata"]["name"] = name
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    if not with_secret:
        del container["envFrom"]
    return runtime


@contextmanager
def have_runtime(api: KubernetesApi, name: str, *, with_secret: bool = False) -> Iterator[None]:
    """Have it in the cluster while the body runs; skip where there is no Kubeflow Trainer."""
    if api._call("GET", RUNTIMES).status_code == 404:
        pytest.skip("NOT SHOWN: the cluster has no Kubeflow Trainer")
    api._call("POST", RUNTIMES, read_runtime(name, with_secret=with_secret))
    yield
    api._call("DELETE", f"{RUNTIMES}/{name}")
