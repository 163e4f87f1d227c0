"""What pods take, where the cluster has a metrics-server."""

import json

from tests.kubernetes.cluster import NAMESPACE, RELEASE, STORES, kubectl, say

CORES = {"n": 1e-9, "u": 1e-6, "m": 1e-3}
MIB = {"Ki": 1 / 1024, "Mi": 1.0, "Gi": 1024.0}


def measure(namespace: str) -> dict[str, tuple[float, float]]:
    """Read what each container takes: cores and MiB, by pod and container; nothing without metrics."""
    try:
        told = kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods")
    except AssertionError:
        return {}
    return {
        f"{pod['metadata']['name'].removeprefix(f'{RELEASE}-')} {container['name']}": (
            read_cores(container["usage"]["cpu"]),
            read_mib(container["usage"]["memory"]),
        )
        for pod in json.loads(told)["items"]
        for container in pod["containers"]
    }


def read_cores(quantity: str) -> float:
    """Read a quantity of CPU as the metrics API writes it."""
    return float(quantity[:-1]) * CORES[quantity[-1]] if quantity[-1] in CORES else float(quantity)


def read_mib(quantity: str) -> float:
    """Read a quantity of memory as the metrics API writes it."""
    return float(quantity[:-2]) * MIB[quantity[-2:]]


def say_usage(when: str) -> None:
    for namespace in (NAMESPACE, STORES):
        for name, (cores, mib) in sorted(measure(namespace).items()):
            say(f"  {when}: {name:56} {1000 * cores:5.0f}m {mib:5.0f}Mi")
