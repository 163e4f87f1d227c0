"""What the launchers on Kubernetes have in common: the pod that trains, and what pods say of how they ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.trainer.domain.launching.endings import LOST_PEER, RemoteRun
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import Pods

CONTAINER = "node"
LOG_LINES = 60
MEMORY = "OOMKilled"
EVICTED = ("Evicted", "NodeLost", "Shutdown", "Terminated", "Preempting", "NodeShutdown", "NodeAffinity")
"""A pod's reason when its node took it away."""
KILLED = (137, 143)
DELETED = "the job is no longer there: somebody deleted it, or it ended more than a day ago"
"""No eviction deletes a job: its controller would make other pods."""
POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""What a namespace that enforces the `restricted` standard asks for; whose user it is, the image says."""
QUEUE = "kueue.x-k8s.io/queue-name"
GRACE_SECONDS = 60
"""For a checkpoint, when a node is drained."""


def make_command(order: LaunchOrder, settings: Pods) -> list[str]:
    """Make the container's command; it ends by itself after the run's time."""
    return ["timeout", "--signal=KILL", str(order.max_seconds), *settings.command, *order.arguments]


def make_environment(order: LaunchOrder) -> list[dict[str, str]]:
    """Make the container's variables."""
    return [{"name": name, "value": value} for name, value in order.environment.items()]


def make_resources(settings: Pods) -> dict[str, dict[str, str]]:
    """Make what the container asks for: memory and GPUs are its limit too."""
    gpus = {settings.gpu_resource: str(settings.gpus)} if settings.gpus else {}
    memory = {"memory": settings.memory}
    return {"requests": {"cpu": settings.cpu} | memory | gpus, "limits": memory | gpus}


def make_volumes(settings: Pods) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Make (the pod's volumes, where the container has them): a disk of its own, and shared memory for NCCL."""
    volumes: list[dict[str, Any]] = [
        {"name": "home", "emptyDir": {"sizeLimit": settings.volume}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
    ]
    return volumes, [
        {"name": "home", "mountPath": "/var/lib/heliotrope"},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]


def make_labels(settings: Pods) -> dict[str, str]:
    """Make the job's own labels: whose it is, and the queue that it waits in."""
    queue = {QUEUE: settings.queue} if settings.queue else {}
    return {"app.kubernetes.io/managed-by": "heliotrope"} | queue


def make_placement(settings: Pods) -> dict[str, Any]:
    """Make the pod's account, and which nodes it may run on."""
    placement: dict[str, Any] = {"serviceAccountName": settings.service_account}
    if settings.node_selector:
        placement["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        placement["tolerations"] = list(settings.tolerations)
    return placement


def explain_waiting(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    """Explain what a job waits for: whoever suspended it, else what the first of its pods says."""
    if job["spec"].get("suspend"):
        return "suspended: waits in its queue"
    if not pods:
        return "no pods yet: a ResourceQuota or an admission rule may refuse them"
    for pod in pods:
        status, name = pod.get("status", {}), pod["metadata"]["name"]
        for condition in status.get("conditions", ()):
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return f"{name}: {condition.get('reason')}: {condition.get('message', '')}"[:300]
        for container in status.get("containerStatuses", ()):
            if waiting := container.get("state", {}).get("waiting"):
                return f"{name}: {waiting.get('reason')}: {waiting.get('message', '')}"[:300]
    return "its pods have not begun"


def explain_eviction(pods: Sequence[Mapping[str, Any]], expected: int) -> str | None:
    """Explain why a job's pods were taken away; None: they were not.

    A pod that is gone was deleted: a drain, a preemption, a node that was lost. Memory beyond the limit is no eviction.
    """
    for pod in pods:
        status, name = pod.get("status", {}), pod["metadata"]["name"]
        if find_memory_shortage([pod]):
            continue
        if status.get("reason") in EVICTED:
            return f"{name}: {status['reason']}: {status.get('message', '')}"[:300]
        for condition in status.get("conditions", ()):
            if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
                return f"{name}: {condition.get('reason')}: {condition.get('message', '')}"[:300]
        if pod["metadata"].get("deletionTimestamp"):
            return f"{name} is being deleted"
        if _find_exit_code(status) in KILLED:
            return f"{name} was killed"
    return f"{expected - len(pods)} of {expected} pods are gone" if len(pods) < expected else None


def find_memory_shortage(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """Find a pod whose container had more memory than it may; None: there is none."""
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", ()):
            if container.get("state", {}).get("terminated", {}).get("reason") == MEMORY:
                return f"{pod['metadata']['name']} had more memory than its limit"
    return None


def find_failure(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """Find a pod that failed by itself; None: each was ended from outside, or by the loss of another."""
    for pod in pods:
        code = _find_exit_code(pod.get("status", {}))
        if code and code not in (*KILLED, LOST_PEER) and not _is_disrupted(pod):
            return f"{pod['metadata']['name']} ended with status {code}"
    return None


def _is_disrupted(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one.get("type") == "DisruptionTarget" and one.get("status") == "True" for one in conditions)


def judge_failure(pods: Sequence[Mapping[str, Any]], expected: int, words: str) -> RemoteRun:
    """Judge a job that its controller calls failed."""
    if shortage := find_memory_shortage(pods):
        return RemoteRun("failed", shortage)
    if failure := find_failure(pods):
        return RemoteRun("failed", failure)
    if eviction := explain_eviction(pods, expected):
        return RemoteRun("evicted", eviction)
    if any(_find_exit_code(pod.get("status", {})) == LOST_PEER for pod in pods):
        return RemoteRun("lost", "its pods lost each other")
    return RemoteRun("failed", words)


def choose_log(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """Choose the pod whose log says most: the first that failed, else the first."""
    failed = [pod for pod in pods if find_failure([pod])]
    ordered = sorted(failed or pods, key=lambda pod: str(pod["metadata"]["name"]))
    return str(ordered[0]["metadata"]["name"]) if ordered else None


def find_condition(job: Mapping[str, Any], *kinds: str) -> Mapping[str, Any] | None:
    """Find the first condition of these kinds that is true."""
    conditions = job.get("status", {}).get("conditions", ())
    return next((one for one in conditions if one.get("type") in kinds and one.get("status") == "True"), None)


def describe_condition(condition: Mapping[str, Any]) -> str:
    """Describe a condition in a line."""
    return f"{condition.get('reason', '')}: {condition.get('message', '')}"[:300]


def _find_exit_code(status: Mapping[str, Any]) -> int | None:
    for container in status.get("containerStatuses", ()):
        if code := container.get("state", {}).get("terminated", {}).get("exitCode"):
            return int(code)
    return None
